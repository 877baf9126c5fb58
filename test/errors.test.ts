import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, MagicMixError, type Mix, type MixRequest } from 'magicmix'

import { CallersOwn, callSite } from '../dist/errors.js'
import { tinyHeads, tinyModel } from './support/models.js'

const small = { content: 'a cat', steps: 4, width: 32, height: 32, seed: 1 } as const
const ofPrompt: MixRequest = { ...small, layout: { prompt: 'a hill' } }

/** What `promise` rejects with; it must reject. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  const resolved = Symbol()
  const outcome: unknown = await promise.then(
    () => resolved,
    (error: unknown) => error,
  )
  assert.notEqual(outcome, resolved, 'it should have rejected')
  return outcome
}

/** The first line of a stack below the message has to be in this file, in `functionName`. */
function assertPointsHere(error: unknown, functionName: string): void {
  assert.ok(error instanceof MagicMixError)
  const [headline, ...frames] = String(error.stack).split('\n    at ')
  assert.equal(headline, `MagicMixError: ${error.message}`)
  assert.match(frames[0] ?? '', new RegExp(`${functionName}.*errors\\.test\\.ts`))
}

describe('errors', () => {
  let mixer: MagicMix
  let mix: Mix
  let folder: string
  before(async () => {
    mixer = await MagicMix.load({ model: await tinyModel(), config: tinyHeads, threads: 1 })
    mix = await mixer.mix(ofPrompt)
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-errors-'))
  })
  after(async () => {
    await mixer.dispose()
    await rm(folder, { recursive: true, force: true })
  })

  it('are errors with a code and the values at fault', () => {
    const cause = new Error('deeper')
    const error = new MagicMixError('INVALID_ARGUMENT', 'no', { nu: 2 }, { cause })
    assert.ok(error instanceof Error)
    assert.equal(String(error), 'MagicMixError: no')
    assert.equal(error.code, 'INVALID_ARGUMENT')
    assert.deepEqual(error.details, { nu: 2 })
    assert.equal(error.cause, cause)
    assert.equal(new MagicMixError('INTERNAL', 'no').name, 'MagicMixError')
  })

  it('point at the line that called load', async () => {
    const missing = path.join(folder, 'missing.safetensors')
    async function loadsNothing() {
      await MagicMix.load({ model: missing })
    }
    const error = await rejection(loadsNothing())
    assertPointsHere(error, 'loadsNothing')
    assert.equal((error as MagicMixError).code, 'MODEL_NOT_FOUND')
    assert.match((error as MagicMixError).message, /missing\.safetensors/)
  })

  it('point at the line that called mix, from checks and from after the first wait', async () => {
    async function mixesBadly(request: object) {
      await mixer.mix({ ...ofPrompt, ...request })
    }
    const unreadable = { layout: path.join(folder, 'none.png') }
    const cases: [request: object, code: string][] = [
      [{ nu: 2 }, 'INVALID_ARGUMENT'],
      [{ knu: 2 }, 'UNKNOWN_OPTION'],
      [{ attention: { dog: 1 } }, 'PHRASE_NOT_FOUND'],
      [{ content: 'word '.repeat(76) }, 'PROMPT_TOO_LONG'],
      [unreadable, 'PICTURE_UNREADABLE'],
    ]
    for (const [request, code] of cases) {
      const error = await rejection(mixesBadly(request))
      assertPointsHere(error, 'mixesBadly')
      assert.equal((error as MagicMixError).code, code)
    }
  })

  it('point at the line that called tokenize', () => {
    function tokenizesNumber() {
      mixer.tokenize(7 as never)
    }
    assert.throws(tokenizesNumber, (error) => {
      assertPointsHere(error, 'tokenizesNumber')
      return (error as MagicMixError).code === 'INVALID_ARGUMENT'
    })
  })

  it('point at the line that called toFile and toBuffer', async () => {
    async function writesBadly(name: string) {
      await mix.toFile(name)
    }
    const cases: [name: string, code: string][] = [
      [path.join(folder, 'no', 'folder', 'mix.png'), 'PICTURE_UNWRITABLE'],
      [path.join(folder, 'mix.bmp'), 'INVALID_ARGUMENT'],
      [path.join(folder, 'mix'), 'INVALID_ARGUMENT'],
      ['data:image/png;base64,mix.png', 'INVALID_ARGUMENT'],
      ['https://example.org/mix.png', 'INVALID_ARGUMENT'],
    ]
    for (const [name, code] of cases) {
      const error = await rejection(writesBadly(name))
      assertPointsHere(error, 'writesBadly')
      assert.equal((error as MagicMixError).code, code)
    }
    async function encodesBadly() {
      await mix.toBuffer('bmp' as never)
    }
    assertPointsHere(await rejection(encodesBadly()), 'encodesBadly')
  })

  it('reject rather than throw, whatever comes in', async () => {
    for (const nonsense of [undefined, null, 7, [], 'x']) {
      await assert.rejects(mixer.mix(nonsense as never), MagicMixError)
      await assert.rejects(MagicMix.load((nonsense ?? null) as never), MagicMixError)
    }
  })

  it('leave the mixer as it was', async () => {
    const again = await mixer.mix(ofPrompt)
    assert.deepEqual(again.data, mix.data)
  })

  it('of onProgress are the rejection, unchanged', async () => {
    const own = new MagicMixError('INTERNAL', 'of the caller')
    const { stack } = own
    const throws = () => {
      throw own
    }
    assert.equal(await rejection(mixer.mix({ ...ofPrompt, onProgress: throws })), own)
    const model = await tinyModel()
    const loading = MagicMix.load({ model, config: tinyHeads, onProgress: throws })
    assert.equal(await rejection(loading), own)
    assert.equal(own.stack, stack)
  })

  it('are not made of a signal: its reason is the rejection', async () => {
    for (const reason of [new Error('enough'), 'enough', 0]) {
      const aborted = AbortSignal.abort(reason)
      assert.equal(await rejection(mixer.mix({ ...ofPrompt, signal: aborted })), reason)
      const loading = MagicMix.load({ model: 'nowhere', signal: aborted })
      assert.equal(await rejection(loading), reason)

      const controller = new AbortController()
      let after = 0
      const mixing = mixer.mix({
        ...ofPrompt,
        signal: controller.signal,
        onProgress: () => {
          if (controller.signal.aborted) after++
          controller.abort(reason)
        },
      })
      assert.equal(await rejection(mixing), reason)
      assert.equal(after, 0, 'no events after the signal aborted')
    }
  })

  it('say that the mixer is disposed of', async () => {
    const brief = await MagicMix.load({ model: await tinyModel(), config: tinyHeads })
    const running = [brief.mix({ ...ofPrompt, steps: 999 }), brief.mix(ofPrompt)].map(rejection)
    await Promise.all([brief.dispose(), brief.dispose(), brief[Symbol.asyncDispose]()])
    async function mixesAfterwards() {
      await brief.mix(ofPrompt)
    }
    for (const error of await Promise.all([...running, rejection(mixesAfterwards())])) {
      assert.ok(error instanceof MagicMixError)
      assert.equal(error.code, 'DISPOSED')
    }
    assert.throws(() => brief.tokenize('a'), { code: 'DISPOSED' })
    assertPointsHere(await rejection(mixesAfterwards()), 'mixesAfterwards')
  })
})

describe('call sites', () => {
  const thrownFrom = (thrown: unknown) => {
    function entry() {
      return callSite(entry)
    }
    return entry().errorFor(thrown)
  }

  it("turn the addon's errors into ours", () => {
    const native = Object.assign(new Error('no memory'), {
      code: 'OUT_OF_MEMORY',
      details: { wanted: 7 },
    })
    const error = thrownFrom(native)
    assert.ok(error instanceof MagicMixError)
    assert.deepEqual(
      [error.code, error.message, error.details],
      ['OUT_OF_MEMORY', 'no memory', { wanted: 7 }],
    )
    assertPointsHere(error, 'thrownFrom')
  })

  it('leave other errors alone', () => {
    const error = new TypeError('a bug')
    const { stack } = error
    assert.equal(thrownFrom(error), error)
    assert.equal(error.stack, stack)
    assert.equal(thrownFrom(new CallersOwn(undefined)), undefined)
  })
})
