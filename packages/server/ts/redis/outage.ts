/** A Redis that does not answer, as clients hear of it. */
import { Problem, serverProblem } from '../problem.js'

/** @throws Problem 503 where Redis does not answer */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (!isOutage(error)) throw error
    const message = 'The queue does not answer now; try again later'
    throw serverProblem('QUEUE_UNAVAILABLE', message)
  }
}

/** Of Redis itself or the way there, and not of what it was asked. */
export function isOutage(error: unknown): boolean {
  if (error instanceof Problem || !(error instanceof Error)) return false
  if (error.name === 'ReplyError')
    return /^(OOM|LOADING|READONLY|MISCONF|BUSY)\b/.test(error.message)
  const { code } = error as NodeJS.ErrnoException
  return (
    error.name === 'MaxRetriesPerRequestError' ||
    /^Connection is closed/.test(error.message) ||
    /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|ENETUNREACH)/.test(code ?? '')
  )
}
