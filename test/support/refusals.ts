/** What an error has to be. */
import assert from 'node:assert/strict'

import { MagicMixError } from 'magicmix'

/** For `assert.rejects`: an error of ours with that code, whose message says so. */
export function coded(code: string, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof MagicMixError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }
}
