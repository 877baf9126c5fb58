/** A mixer in a process of its own: a driver that crashes takes that one with it. */
import type { ChildProcess } from 'node:child_process'
import path from 'node:path'

import { MagicMixError, messageOf } from '../errors.js'
import type { NativeLoadOptions } from '../models/load-options.js'
import type { ModelInfo } from '../models/model-info.js'
import type { NativeJob, NativeMixer, NativeProgress, NativeSchedule } from '../native/contract.js'
import { startProgram, whyNoProcess } from '../own-process.js'
import type { Answer, Loaded, Operation, Order } from './messages.js'

type Report = ((event: NativeProgress) => void) | null

/** An operation that the process has been told to do. */
interface Pending {
  report: Report
  resolve: (result: never) => void
  reject: (error: unknown) => void
}

/**
 * Does what a `NativeMixer` does, elsewhere. If its process ends, all that it was doing is rejected
 * with DEVICE_FAILED, and the next operation starts another one, which loads the model again.
 */
export class IsolatedMixer implements NativeMixer {
  private readonly own: { child: MixerProcess }
  /** The model is in the child, or will be. */
  private loading: Promise<unknown> = Promise.resolve()
  private disposal: Promise<void> | undefined

  private constructor(
    private readonly options: NativeLoadOptions,
    readonly info: ModelInfo,
    readonly schedule: NativeSchedule,
    child: MixerProcess,
  ) {
    this.own = { child }
    forgotten.register(this, this.own)
  }

  /** @throws {@link MagicMixError} DEVICE_UNAVAILABLE where there can be no process */
  static load(options: NativeLoadOptions, report: Report): NativeJob<NativeMixer> {
    const child = firstProcess(options.device)
    const { done, cancel } = child.run<Loaded>({ load: options }, report)
    return {
      cancel,
      done: done.then(
        ({ info, schedule }) => new IsolatedMixer(options, info, schedule, child),
        async (error: unknown) => {
          await child.end()
          throw error
        },
      ),
    }
  }

  mix(request: Parameters<NativeMixer['mix']>[0], report: Report): ReturnType<NativeMixer['mix']> {
    return this.start('mix', request, report)
  }
  endSweep(sweep: number): ReturnType<NativeMixer['endSweep']> {
    // With its process its states have ended too.
    if (this.own.child.hasEnded) return { done: Promise.resolve(undefined), cancel: () => {} }
    return this.start('endSweep', sweep)
  }
  encodeText(tokens: Int32Array): ReturnType<NativeMixer['encodeText']> {
    return this.start('encodeText', tokens)
  }
  predictNoise(input: unknown): ReturnType<NativeMixer['predictNoise']> {
    return this.start('predictNoise', input)
  }
  encodePicture(input: unknown): ReturnType<NativeMixer['encodePicture']> {
    return this.start('encodePicture', input)
  }
  decodeLatent(input: unknown): ReturnType<NativeMixer['decodeLatent']> {
    return this.start('decodeLatent', input)
  }

  /** Ends the process, which frees everything at once. */
  dispose(): Promise<void> {
    this.disposal ??= this.own.child.end(disposed())
    return this.disposal
  }

  private start<T>(operation: Operation, input: unknown, report: Report = null): NativeJob<T> {
    let job: NativeJob<T> | undefined
    let giveUp = () => {}
    // A process that has to load the model first is not waited for.
    const cancelled = new Promise<never>((_, reject) => {
      giveUp = () => reject(new MagicMixError('INTERNAL', 'cancelled before it began'))
    })
    cancelled.catch(() => {})
    const work = async () => {
      const child = await Promise.race([this.running(), cancelled])
      job = child.run<T>({ operation, input, reports: report !== null }, report)
      return job.done
    }
    return { done: work(), cancel: () => (job ? job.cancel() : giveUp()) }
  }

  /** The process with the model in it; another one if the last has ended. */
  private async running(): Promise<MixerProcess> {
    if (this.disposal) throw disposed()
    if (this.own.child.hasEnded) {
      const child = (this.own.child = new MixerProcess())
      this.loading = child.run({ load: this.options }, null).done
      this.loading.catch(() => void child.end())
    }
    await this.loading
    return this.own.child
  }
}

/** @throws {@link MagicMixError} DEVICE_UNAVAILABLE where there can be none */
function firstProcess(device: string): MixerProcess {
  let problem = whyNoProcess('isolated')
  try {
    if (!problem) return new MixerProcess()
  } catch (error) {
    problem = messageOf(error)
  }
  const message = `A mixer cannot be isolated here: ${problem}`
  throw new MagicMixError('DEVICE_UNAVAILABLE', message, { device })
}

/** Ends the process of a mixer that was collected. */
const forgotten = new FinalizationRegistry<{ child: MixerProcess }>(({ child }) => void child.end())

type Work = { load: NativeLoadOptions } | { operation: Operation; input: unknown; reports: boolean }

/** The process, and what it has been told to do. */
class MixerProcess {
  hasEnded = false
  private readonly child: ChildProcess
  private readonly pending = new Map<number, Pending>()
  private readonly ended: Promise<void>
  private reason: MagicMixError | undefined
  private lastId = 0

  constructor() {
    this.child = startProgram('isolated', path.join(__dirname, 'child.js'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.child.on('message', (answer: Answer) => this.receive(answer))
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.failAll(how)
        resolve()
      }
      this.child.once('error', (error) => end(error.message))
      this.child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`))
    })
    this.keepAlive()
  }

  run<T>(work: Work, report: Report): NativeJob<T> {
    const id = ++this.lastId
    const done = new Promise<T>((resolve, reject) => {
      this.pending.set(id, { report, resolve, reject })
    })
    this.keepAlive()
    this.send({ id, ...work })
    return { done, cancel: () => this.send({ id, cancel: true }) }
  }

  /** Kills it; what it was doing is rejected with `reason`. Resolves when it is gone. */
  end(reason?: MagicMixError): Promise<void> {
    this.reason = reason
    if (reason) this.child.ref() // somebody waits
    if (!this.hasEnded) this.child.kill('SIGKILL')
    return this.ended
  }

  private send(order: Order): void {
    if (this.hasEnded) return
    this.child.send(order, () => {}) // a failure is told by the end of the process
  }

  private receive(answer: Answer): void {
    const pending = this.pending.get(answer.id)
    if (!pending) return
    if ('event' in answer) {
      pending.report?.(answer.event)
      return
    }
    this.pending.delete(answer.id)
    this.keepAlive()
    if ('result' in answer) pending.resolve(answer.result as never)
    else pending.reject(Object.assign(new Error(answer.error.message), answer.error))
  }

  private failAll(how: string): void {
    this.hasEnded = true
    const failure =
      this.reason ??
      new MagicMixError(
        'DEVICE_FAILED',
        `The mixer's own process has ended (${how}); the next mix starts another one`,
      )
    for (const { reject } of this.pending.values()) reject(failure)
    this.pending.clear()
  }

  /** An idle mixer does not keep the program. */
  private keepAlive(): void {
    const { child } = this
    const channel = child.channel as { ref(): void; unref(): void } | null | undefined
    if (this.pending.size > 0) {
      child.ref()
      channel?.ref()
    } else {
      child.unref()
      channel?.unref()
    }
  }
}

function disposed(): MagicMixError {
  return new MagicMixError('DISPOSED', 'This mixer has been disposed of')
}
