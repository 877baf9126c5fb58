/** The most memory that a process held in each of its phases. */
import { readFileSync, writeFileSync } from 'node:fs'

/** Where the system does not tell phases apart, a phase has the most memory of all so far. */
export class Phases {
  /** Mebibytes by phase. */
  readonly peaks: Record<string, number> = {}
  private phase = ''

  /** Ends the phase before; a phase that comes again has the larger of its peaks. */
  begin(phase: string): void {
    if (phase === this.phase) return
    this.end()
    this.phase = phase
  }

  end(): void {
    if (this.phase) {
      this.peaks[this.phase] = Math.max(this.peaks[this.phase] ?? 0, peakMemory() / 2 ** 20)
    }
    this.phase = ''
    if (process.platform === 'linux') writeFileSync('/proc/self/clear_refs', '5')
  }
}

/** Most memory that the process held since the last phase ended, in bytes. */
function peakMemory(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}
