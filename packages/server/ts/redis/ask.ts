/** Questions to a worker that need its model, but are no jobs: how a text is cut into tokens. */
import { randomUUID } from 'node:crypto'

import type { Redis } from 'ioredis'
import type { Token } from 'magicmix'

import type { ModelSet } from '../models/models.js'
import { Problem, type ProblemCode, problemOf, serverProblem, unprocessable } from '../problem.js'
import type { News } from './news.js'
import type { FilledRedisOptions } from './options.js'
import { answered } from './outage.js'
import type { RedisPlace } from './place.js'

interface Question {
  id: string
  /** Where the answer goes to. */
  from: string
  model: string
  text: string
}

type Answer = { id: string; tokens: Token[] } | { id: string; refused: Refusal }
interface Refusal {
  status: number
  code: ProblemCode
  message: string
}

const patienceMs = 30_000

const askChannel = (prefix: string, worker: string) => `${prefix}:ask:${worker}`
const answerChannel = (prefix: string, server: string) => `${prefix}:answer:${server}`

/** The worker's side. */
export class AskedTokens {
  constructor(
    private readonly options: FilledRedisOptions,
    private readonly models: ModelSet,
    private readonly redis: Redis,
  ) {}

  async listen(news: News, worker: string): Promise<void> {
    await news.listen(askChannel(this.options.prefix, worker), (message) => {
      const question = JSON.parse(message) as Question
      void this.answerTo(question).then((answer) =>
        this.redis.publish(
          answerChannel(this.options.prefix, question.from),
          JSON.stringify(answer),
        ),
      )
    })
  }

  private async answerTo({ id, model, text }: Question): Promise<Answer> {
    try {
      const { signal } = new AbortController()
      return { id, tokens: await this.models.tokenize(model, text, signal) }
    } catch (error) {
      const { status, code, message } =
        problemOf(error) ?? serverProblem('NO_WORKER', 'The model cannot be used now')
      return { id, refused: { status, code, message } }
    }
  }
}

/** The server's side. */
export class Asking {
  private readonly open = new Map<string, (answer: Answer) => void>()
  private listening: Promise<unknown> | undefined

  constructor(private readonly place: RedisPlace) {}

  async tokenize(model: string, text: string): Promise<Token[]> {
    const { crew, redis, options, id: from } = this.place
    const isLoadedBy = (card: (typeof crew.workers)[number]) =>
      card.models.some(({ name, isLoaded }) => name === model && isLoaded)
    const able = crew.with(model)
    const worker = able.find(isLoadedBy) ?? able[0]
    if (!worker) throw noWorker(model)
    if (typeof text !== 'string')
      throw unprocessable('Expected a string for text', { name: 'text' })
    const question: Question = { id: randomUUID(), from, model, text }
    const answer = await answered(async () => {
      await this.listen()
      const asked = JSON.stringify(question)
      const [told] = await Promise.all([
        this.answerTo(question.id, model),
        redis.publish(askChannel(options.prefix, worker.id), asked),
      ])
      return told
    })
    if ('tokens' in answer) return answer.tokens
    const { status, code, message } = answer.refused
    throw new Problem(status, code, message)
  }

  private async listen(): Promise<void> {
    const { news, options, id, redis } = this.place
    // The connection for news waits for a Redis that is away; whoever asks here is told.
    if (!this.listening) await redis.ping()
    this.listening ??= news.listen(answerChannel(options.prefix, id), (message) => {
      const answer = JSON.parse(message) as Answer
      this.open.get(answer.id)?.(answer)
    })
    await this.listening
  }

  private answerTo(id: string, model: string): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const late = setTimeout(() => {
        this.open.delete(id)
        reject(noWorker(model))
      }, patienceMs)
      this.open.set(id, (answer) => {
        clearTimeout(late)
        this.open.delete(id)
        resolve(answer)
      })
    })
  }
}

function noWorker(model: string): Problem {
  const message = `No worker has the model '${model}' now; try again later`
  return serverProblem('NO_WORKER', message)
}
