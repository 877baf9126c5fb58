/** Runs one operation of the addon under the caller's `signal` and `onProgress`. */
import { CallersOwn } from '../errors.js'
import { allowManyListeners } from '../stop.js'
import type { ProgressListener } from '../progress.js'
import type { NativeJob, NativeProgress } from './contract.js'
import { Listener } from './listener.js'

/** How the caller watches and stops an operation. */
export interface Watch<Event> {
  signal?: AbortSignal | undefined
  onProgress?: ProgressListener<Event> | undefined
}

/**
 * Starts an operation and waits for its end. If the signal aborts or `onProgress` throws, the
 * operation is cancelled, and once it has unwound this rejects with the signal's reason, or with
 * what `onProgress` threw. The rejection of a promise that it returned counts as a throw. No event is passed on after that.
 *
 * @param start starts the operation and passes it the place to report to
 * @param translate makes an event of ours from one of the addon's
 * @param discard frees a result that came after all, when it is not wanted any more
 */
export async function runJob<T, Event>(
  start: (onProgress: ((event: NativeProgress) => void) | null) => NativeJob<T>,
  translate: (event: NativeProgress) => Event,
  { signal, onProgress }: Watch<Event>,
  discard: (result: T) => Promise<void> = () => Promise.resolve(),
): Promise<T> {
  refuseAborted(signal)
  let stopped: CallersOwn | undefined
  let wake = () => {}
  const stopping = new Promise<void>((resolve) => (wake = resolve))
  const stop = (error: unknown) => {
    stopped ??= new CallersOwn(error)
    job.cancel()
    wake()
  }
  const listener = onProgress && new Listener(onProgress, stop)
  const report = (event: NativeProgress) => {
    if (!stopped) listener?.notify(translate(event))
  }

  const job = start(listener ? report : null)
  const abort = () => stop(signal?.reason)
  allowManyListeners(signal)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const result = await job.done
    await Promise.race([listener?.settled(), stopping])
    if (!stopped) return result
    await discard(result)
  } catch (error) {
    if (!stopped) throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
  throw stopped
}

/** Ends the call with the signal's reason if it has aborted. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CallersOwn(signal.reason)
}
