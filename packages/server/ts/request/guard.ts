/** What clients may not ask for, whatever `mix` would say: files of this machine, and more than the limits. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { type JsonSchema, requestSchema, sweepSchema } from 'magicmix'

import type { JobKind } from '../jobs/jobs.js'
import type { Limits } from '../limits.js'
import { unprocessable } from '../problem.js'
import { type RequestSchemas, namesFile, takesPicture } from './schemas.js'

type Fields = Readonly<Record<string, unknown>>

/** An option whose values are checked here before `mix` sees them. */
interface Guarded {
  validate: ValidateFunction
  schema: JsonSchema
  /** In `vary` a list of them. */
  list: ValidateFunction
  isPicture: boolean
}

export class Guard {
  private readonly guarded: ReadonlyMap<string, Guarded>
  private readonly isVary: ValidateFunction
  private readonly withheld: Readonly<Record<JobKind, ReadonlySet<string>>>

  constructor(
    schemas: RequestSchemas,
    private readonly limits: Limits,
  ) {
    const ajv = new Ajv2020({ strict: false, logger: false })
    const remote = propertiesOf(schemas.mix)
    const all = Object.entries(propertiesOf(requestSchema))
    this.guarded = new Map(
      all
        .filter(([name, schema]) => name in remote && (namesFile(schema) || takesPicture(schema)))
        .map(([name]) => {
          const schema = remote[name] ?? {}
          const list = ajv.compile({ type: 'array', items: schema })
          const isPicture = takesPicture(schema)
          return [name, { schema, isPicture, validate: ajv.compile(schema), list }]
        }),
    )
    this.isVary = ajv.compile(propertiesOf(schemas.sweep).vary ?? {})
    const without = (offered: JsonSchema, own: JsonSchema) =>
      new Set(Object.keys(propertiesOf(own)).filter((name) => !(name in propertiesOf(offered))))
    this.withheld = {
      mix: without(schemas.mix, requestSchema),
      sweep: without(schemas.sweep, sweepSchema),
    }
  }

  /** Options that take pictures. */
  get pictures(): string[] {
    return [...this.guarded].filter(([, { isPicture }]) => isPicture).map(([name]) => name)
  }

  /** @throws Problem 422 for a form that names a file, or that nobody has */
  check(kind: JobKind, request: Fields): void {
    for (const name of Object.keys(request)) {
      if (this.withheld[kind].has(name))
        throw unprocessable(`${name} is not offered here`, { name })
    }
    for (const [name, { validate, schema }] of this.guarded) {
      const { [name]: value } = request
      if (value !== undefined && !validate(value)) throw otherForm(name, schema)
    }
    if (kind === 'sweep') this.checkVary(request.vary)
    this.checkLimits(request)
  }

  private checkVary(vary: unknown): void {
    if (!isFields(vary)) return // the sweep says what is wrong
    for (const [name, { list, schema }] of this.guarded) {
      const { [name]: values } = vary
      if (values !== undefined && !list(values)) throw otherForm(`vary.${name}`, schema)
    }
    const cells = Object.values(vary).reduce<number>((product, each) => product * countOf(each), 1)
    const { limits } = this
    if (cells > limits.cells) {
      throw unprocessable(`This sweep has ${cells} cells, and at most ${limits.cells} are taken`, {
        name: 'vary',
      })
    }
  }

  /** Whether `vary` has the form that its schema describes: for when no model is there that would say it better. */
  hasVaryForm(vary: unknown): boolean {
    return this.isVary(vary)
  }

  private checkLimits(request: Fields): void {
    const steps = Math.max(0, ...numbersOf(request, 'steps'))
    if (steps > this.limits.steps) {
      throw unprocessable(`At most ${this.limits.steps} steps are taken here`, { name: 'steps' })
    }
    const width = Math.max(0, ...numbersOf(request, 'width'))
    const height = Math.max(0, ...numbersOf(request, 'height'))
    this.checkSize({ width, height })
  }

  /** @throws Problem 422 */
  checkSize({ width, height }: { width: number; height: number }): void {
    const { mixPixels } = this.limits
    if (width * height <= mixPixels) return
    const message = `A mix of ${width} x ${height} is larger than the ${mixPixels} pixels that are taken here`
    throw unprocessable(message, { name: 'width' })
  }
}

function otherForm(name: string, schema: JsonSchema) {
  const forms = (schema.anyOf ?? []) as readonly JsonSchema[]
  const shapes = forms
    .map(({ required }) => required as readonly string[] | undefined)
    .filter((required) => required !== undefined)
    .map((required) => `{ ${required.join(', ')} }`)
  const taken = shapes.length > 0 ? `: it takes ${shapes.join(' or ')}` : ''
  const files = 'nothing is read from a path, an address or a file that a client names'
  return unprocessable(`${name} is not in a form that is taken here${taken}; ${files}`, { name })
}

function propertiesOf(schema: JsonSchema): Readonly<Record<string, JsonSchema>> {
  return (schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>
}

/** Values of an option, in the request and varied, as far as they are numbers. */
function numbersOf(request: Fields, name: string): number[] {
  const { vary } = request
  const varied = isFields(vary) ? vary[name] : undefined
  const { from, to } = isFields(varied) ? varied : {}
  const values = [request[name], from, to, ...(Array.isArray(varied) ? (varied as unknown[]) : [])]
  return values.filter((value): value is number => typeof value === 'number')
}

/** How many values a list or a range has; of what is neither, the sweep says it. */
function countOf(values: unknown): number {
  if (Array.isArray(values)) return values.length
  const { from, to, step, count } = Object(values) as Partial<Record<string, unknown>>
  if (typeof count === 'number') return count
  if (typeof from !== 'number' || typeof to !== 'number' || typeof step !== 'number') return 1
  return step > 0 ? Math.floor(Math.abs(to - from) / step + 1e-9) + 1 : 1
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
