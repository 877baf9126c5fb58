/**
 * Prompts that change while a picture is made, as AUTOMATIC1111's web UI understands them:
 *
 *     [from:to:when]   `from` up to that step, then `to`; [to:when] and [from::when] leave one of them out
 *     [a|b|c]          one after the other, another in every step
 *
 * `when` with a point is a fraction of the steps, without one the number of a step. Both may be nested.
 */
import { MagicMixError } from '../errors.js'

type Part = string | Switch | Alternation
type Parts = readonly Part[]
interface Switch {
  from: Parts
  to: Parts
  /** As it is written. */
  when: string
}
interface Alternation {
  options: readonly Parts[]
}

/** A prompt of N steps. */
export interface EditedPrompt {
  /** Different ones, in the order in which they come. */
  texts: string[]
  /** The number of its text for each step. */
  ofStep: number[]
}

/** Every text is encoded; a prompt of people has two or three. */
const mostTexts = 100
const mostCharacters = 10_000
const mostNested = 50

/**
 * The texts of a prompt over the steps of a sampler, the first of which is that of pure noise.
 *
 * @param name says in errors which prompt it is
 * @throws {@link MagicMixError} PROMPT_SYNTAX, PROMPT_TOO_LONG
 */
export function editedPrompt(prompt: string, steps: number, name: string): EditedPrompt {
  if (prompt.length > mostCharacters) {
    throw new MagicMixError(
      'PROMPT_TOO_LONG',
      `${name} has ${prompt.length} characters: more than the ${mostCharacters} that are read`,
      { name, length: prompt.length, maxLength: mostCharacters },
    )
  }
  const parts = new Reader(prompt, name).whole()
  const numbers = new Map<string, number>()
  const ofStep = Array.from({ length: steps }, (_, i) => {
    const text = textAt(parts, i, steps)
    if (!numbers.has(text)) numbers.set(text, numbers.size)
    return numbers.get(text)!
  })
  if (numbers.size > mostTexts) {
    throw new MagicMixError(
      'PROMPT_SYNTAX',
      `${name} changes to ${numbers.size} different texts in ${steps} steps; at most ${mostTexts} are taken`,
      { name, position: 0 },
    )
  }
  return { texts: [...numbers.keys()], ofStep }
}

/** The text of step i, which the web UI counts from 1. */
function textAt(parts: Parts, i: number, steps: number): string {
  return parts
    .map((part) => {
      if (typeof part === 'string') return part
      if ('options' in part) return textAt(part.options[i % part.options.length]!, i, steps)
      return textAt(i < stepOf(part.when, steps) ? part.from : part.to, i, steps)
    })
    .join('')
}

/** The number of steps before the change. */
function stepOf(when: string, steps: number): number {
  return when.includes('.') ? Math.trunc(Number(when) * steps) : Number(when)
}

/** Reads a prompt from its beginning to its end. */
class Reader {
  private at = 0
  private depth = 0

  constructor(
    private readonly prompt: string,
    private readonly name: string,
  ) {}

  whole(): Parts {
    const parts = this.parts('')
    if (this.at < this.prompt.length) throw this.wrong(this.at, "']' closes nothing")
    return parts
  }

  /** As far as one of `ends`, or a bracket that closes. */
  private parts(ends: string): Parts {
    const parts: Part[] = []
    let text = ''
    let began = this.at
    const endText = () => {
      if (text !== '') parts.push(text)
      this.refuseOtherSyntax(began)
      text = ''
    }
    for (;;) {
      const character = this.prompt[this.at]
      if (character === undefined || character === ']' || ends.includes(character)) break
      if (character === '[') {
        endText()
        parts.push(this.bracket())
        began = this.at
        continue
      }
      if (character === '(' || character === ')') {
        throw this.wrong(
          this.at,
          `'${character}' is for weights, which the option attention is for; write '\\${character}' for the character`,
        )
      }
      const escaped = character === '\\' ? this.prompt[this.at + 1] : undefined
      text += escaped ?? character
      this.at += escaped === undefined ? 1 : 2
    }
    endText()
    return parts
  }

  private bracket(): Switch | Alternation {
    const opened = this.at++
    if (++this.depth > mostNested) throw this.wrong(opened, `more than ${mostNested} levels of '['`)
    const parts: Parts[] = []
    const starts: number[] = []
    let separator: string | undefined
    for (;;) {
      starts.push(this.at)
      parts.push(this.parts(':|'))
      const end = this.prompt[this.at]
      if (end === undefined) throw this.wrong(opened, "'[' is not closed")
      if (end === ']') break
      if (separator !== undefined && end !== separator) {
        throw this.wrong(this.at, "':' and '|' in one bracket; one of them needs a '[' of its own")
      }
      separator = end
      this.at++
    }
    const lastStart = starts.at(-1)!
    const last = this.prompt.slice(lastStart, this.at)
    this.at++
    this.depth--
    if (separator === undefined) {
      throw this.wrong(
        opened,
        "'[' and ']' without ':' or '|' are for weights, which the option attention is for; write '\\[' for the character",
      )
    }
    if (separator === '|') return { options: parts }
    return this.switched(parts, starts, last)
  }

  private switched(parts: readonly Parts[], starts: readonly number[], last: string): Switch {
    if (parts.length > 3) {
      throw this.wrong(starts[3]! - 1, "a third ':' in one bracket, which takes [from:to:when]")
    }
    const when = last.trim()
    const isNumber = /^(\d+|\d*\.\d+|\d+\.)$/.test(when)
    if (!isNumber || (when.includes('.') && Number(when) > 1)) {
      throw this.wrong(
        starts.at(-1)!,
        `'${when.slice(0, 40)}' is no time to change at: a fraction of the steps, 0.0 to 1.0, or the number of a step`,
      )
    }
    const [from, to] = parts.length === 3 ? parts : [[], parts[0]]
    return { from: from, to: to!, when }
  }

  /** Words of the web UI that would do something else there. */
  private refuseOtherSyntax(began: number): void {
    const found = /\b(AND|BREAK)\b|<(lora|lyco|hypernet):/.exec(this.prompt.slice(began, this.at))
    if (!found) return
    const [text] = found
    const instead = text === '<lora:' || text === '<lyco:' ? '; the option loras takes LoRAs' : ''
    throw this.wrong(began + found.index, `'${text}' is not understood${instead}`)
  }

  private wrong(position: number, problem: string): MagicMixError {
    return new MagicMixError(
      'PROMPT_SYNTAX',
      `${this.name}, character ${position + 1}: ${problem}`,
      { name: this.name, position },
    )
  }
}
