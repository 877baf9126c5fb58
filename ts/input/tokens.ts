/**
 * Text to CLIP's tokens.
 *
 * The rules of Unicode are here, the byte pair encoding is `@huggingface/tokenizers`. Its own
 * loader, one JSON file of 1.4 MB, blocks the event loop for 110 ms (measured on two cores:
 * 41 ms of JSON.parse, 68 ms of constructor). So the tokenizer begins with empty tables and gets
 * them from the bare list of merges in slices of about 1 ms, with the event loop running between
 * them. The whole takes 0.1 to 0.2 s, once in a thread; the longest single piece is the import of
 * the package itself, 8 ms.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { type Findable, splitAt } from './embeddings.js'
import { MagicMixError } from '../errors.js'
import { text as checkedText } from '../options/validate.js'

/** Length of the text encoder's input: BOS, at most {@link maxTokens} tokens, EOS, padding. */
export const contextLength = 77
/** Tokens of a prompt that fit between BOS and EOS. */
export const maxTokens = contextLength - 2

const beginOfText = { id: 49406, text: '<|startoftext|>' }
const endOfText = { id: 49407, text: '<|endoftext|>' }

/**
 * The longest text that is tokenised, in UTF-16 units. 75 tokens are seldom more than 400, and
 * tokenising is synchronous: 1 ms for 1000 units of plain prose, 8 ms for one word of that length
 * in a script with three bytes a character.
 */
const maxTextLength = 1000

/**
 * One token of a text, as {@link MagicMix.tokenize} gives it.
 *
 * @example
 * ```ts
 * for (const { index, id, text } of mixer.tokenize('a corgi')) console.log(index, id, text)
 * // 0 49406 <|startoftext|>
 * // 1 320 a
 * // 2 31320 corgi
 * // 3 49407 <|endoftext|>
 * ```
 */
export interface Token {
  /** Number in CLIP's vocabulary, 0..49407; the tokens of `embeddings` have larger ones. */
  id: number
  /**
   * The token's part of the (lower-cased) text. A character can be spread over several tokens;
   * an incomplete one shows as U+FFFD. Each token of an embedding has the placeholder.
   */
  text: string
  /** Place in the sequence: 0 is the begin-of-text token, 1 the first token of the text. */
  index: number
}

/** CLIP's tokenizer. */
export class ClipTokens {
  private constructor(
    private readonly tokenizer: BpeTokenizer,
    private readonly learnt: readonly Learnt[] = [],
  ) {}

  private static shared: Promise<ClipTokens> | undefined

  /** The tokenizer of this thread, built at the first call. */
  static load(): Promise<ClipTokens> {
    this.shared ??= buildTokenizer().then((tokenizer) => new ClipTokens(tokenizer))
    return this.shared
  }

  /** The same tokenizer, which finds placeholders of embeddings as well. */
  withLearnt(learnt: readonly Learnt[]): ClipTokens {
    return new ClipTokens(this.tokenizer, learnt)
  }

  /** The tokens of `text`, without begin and end; `index` counts from 1. */
  tokensOf(text: string, name = 'text'): Token[] {
    const { length } = checkedText(text, name)
    if (length > maxTextLength) {
      throw new MagicMixError(
        'PROMPT_TOO_LONG',
        `${name} has ${length} characters: more than the ${maxTextLength} that are tokenised, and ` +
          `far more than the ${maxTokens} tokens that fit`,
        { name, length, maxLength: maxTextLength },
      )
    }
    return splitAt(text, this.learnt)
      .flatMap((part) => (typeof part === 'string' ? this.ordinary(part) : learntTokens(part)))
      .map((token, i) => ({ ...token, index: i + 1 }))
  }

  private ordinary(text: string): UnplacedToken[] {
    const { ids, tokens } = this.tokenizer.encode(normalize(text), { add_special_tokens: false })
    return ids.map((id, i) => ({ id, text: readable(tokens[i] ?? '') }))
  }

  /** The whole sequence of `text`: begin, tokens, end; neither cut nor padded. */
  sequenceOf(text: string): Token[] {
    const tokens = this.tokensOf(text)
    return [{ ...beginOfText, index: 0 }, ...tokens, { ...endOfText, index: tokens.length + 1 }]
  }
}

/** A placeholder and the ids that it stands for. */
type Learnt = Findable & { readonly ids: readonly number[] }
type UnplacedToken = Omit<Token, 'index'>

function learntTokens({ placeholder, ids }: Learnt): UnplacedToken[] {
  return ids.map((id) => ({ id, text: placeholder }))
}

/** As many whole words from the beginning of `text` as are tokenised: more than could fit. */
export function beginningOf(text: string): string {
  if (text.length <= maxTextLength) return text
  const beginning = text.slice(0, maxTextLength)
  return /^.*\s/su.exec(beginning)?.[0] ?? beginning
}

/**
 * The 77 ids that the text encoder sees: begin, tokens, end, padding.
 * `name` says in errors which prompt it is.
 */
export function contextOf(
  tokens: readonly Token[],
  truncate: boolean,
  name: string,
  padding: number,
): Int32Array {
  const firstCut = tokens[maxTokens]
  if (firstCut && !truncate) {
    throw new MagicMixError(
      'PROMPT_TOO_LONG',
      `${name} has ${tokens.length} tokens, but only ${maxTokens} fit: it would be cut off before ` +
        `'${firstCut.text}' (token ${firstCut.index}). Shorten it, or allow that with truncate: true`,
      { name, tokens: tokens.length, maxTokens, firstCut: firstCut.text },
    )
  }
  const fitting = tokens.slice(0, maxTokens).map((token) => token.id)
  const ids = new Int32Array(contextLength).fill(padding)
  ids.set([beginOfText.id, ...fitting, endOfText.id])
  return ids
}

/** The used part of `@huggingface/tokenizers`; its own types do not resolve in Node's way. */
interface TokenizersPackage {
  Tokenizer: new (definition: object, config: object) => BpeTokenizer
}
interface BpeTokenizer {
  model: BpeTables
  encode(text: string, options: object): { ids: number[]; tokens: string[] }
}
interface BpeTables {
  tokens_to_ids: Map<string, number>
  vocab: string[]
  bpe_ranks: Map<string, number>
  unk_token_id?: number
}

async function buildTokenizer(): Promise<BpeTokenizer> {
  // Late, since it takes 8 ms; not by `import`, which Jest's and vitest's contexts do not have.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { Tokenizer } = require('@huggingface/tokenizers') as TokenizersPackage
  const merges = (await readFile(path.join(__dirname, '..', 'clip-merges.txt'), 'utf8')).trimEnd()
  const tokenizer = new Tokenizer(
    {
      model: {
        type: 'BPE',
        vocab: {},
        merges: [],
        unk_token: endOfText.text,
        end_of_word_suffix: '</w>',
      },
      normalizer: null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          {
            type: 'Split',
            pattern: {
              Regex: String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
            },
            behavior: 'Removed',
            invert: true,
          },
          { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: null,
      decoder: null,
      added_tokens: [beginOfText, endOfText].map(({ id, text }) => ({
        id,
        content: text,
        special: true,
      })),
    },
    {},
  )
  await fillTables(tokenizer.model, merges.split('\n'))
  return tokenizer
}

/** The order of ids: bytes, bytes that end a word, merges, special tokens. */
async function fillTables(model: BpeTables, merges: readonly string[]): Promise<void> {
  const { tokens_to_ids: ids, vocab, bpe_ranks: ranks } = model
  let next = 0
  const add = (token: string) => {
    ids.set(token, next)
    vocab[next++] = token
  }
  for (const symbol of byteSymbols) add(symbol)
  for (const symbol of byteSymbols) add(`${symbol}</w>`)

  const mergesInASlice = 500
  for (const [rank, merge] of merges.entries()) {
    const space = merge.indexOf(' ')
    const [left, right] = [merge.slice(0, space), merge.slice(space + 1)]
    add(left + right)
    ranks.set(JSON.stringify([left, right]), rank)
    if (rank % mergesInASlice === 0) await nextTurn()
  }
  model.unk_token_id = endOfText.id
}

/** GPT-2's alphabet for bytes: printable characters for themselves first, U+0100.. for the rest. */
const byteOf = new Map<string, number>()
for (const [first, last] of [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
] as const) {
  for (let byte = first; byte <= last; byte++) byteOf.set(String.fromCharCode(byte), byte)
}
const printable = new Set(byteOf.values())
for (let byte = 0, n = 0; byte < 256; byte++) {
  if (!printable.has(byte)) byteOf.set(String.fromCharCode(0x100 + n++), byte)
}
const byteSymbols = [...byteOf.keys()]

/** NFC, white space as single spaces, lower case. */
function normalize(text: string): string {
  const spaced = text.normalize('NFC').replace(/\p{White_Space}+/gu, ' ')
  // Code point by code point: in one go, JavaScript would write a final sigma differently.
  return Array.from(spaced, (character) => character.toLowerCase()).join('')
}

/** A token of the byte alphabet as text. */
function readable(token: string): string {
  if (token === beginOfText.text || token === endOfText.text) return token
  const symbols = token.replace(/<\/w>$/, '')
  return Buffer.from(Array.from(symbols, (symbol) => byteOf.get(symbol) ?? 0x3f)).toString('utf8')
}
