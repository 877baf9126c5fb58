/**
 * The schemas of requests as they come over the net, made from those of the package: what names a file is not taken,
 * LoRAs have the names that the server gives them, and what the server does not hand out is no option.
 */
import { type JsonSchema, requestSchema, sweepSchema } from 'magicmix'

/**
 * Options that are of no use here: states of the sampler are not handed out, folders are the server's own, and mixes that
 * take the memory of several would keep others waiting.
 */
const notOffered = ['trace', 'cells', 'batch']

export interface RequestSchemas {
  mix: JsonSchema
  sweep: JsonSchema
}

type Properties = Readonly<Record<string, JsonSchema>>

/**
 * @param models names that `model` may have; undefined where they come and go
 * @param loras names that `loras` may have
 */
export function requestSchemas(
  models: readonly string[] | undefined,
  loras: readonly string[],
): RequestSchemas {
  const of = (schema: JsonSchema) => {
    const { $schema, title, ...remote } = served(schema, loras) as JsonSchema & {
      properties: Properties
    }
    const properties = Object.fromEntries(
      Object.entries(remote.properties)
        .filter(([name]) => !notOffered.includes(name))
        .map(([name, each]) => [
          name,
          name === 'vary' ? withoutProperties(each, notOffered) : each,
        ]),
    )
    const names = models === undefined ? { type: 'string' } : { enum: models }
    const model = { ...names, description: 'name of the model; see /v1/models' }
    return { ...remote, title, properties: { model, ...properties } }
  }
  return { mix: of(requestSchema), sweep: of(sweepSchema) }
}

function withoutProperties(schema: JsonSchema, names: readonly string[]): JsonSchema {
  const properties = Object.entries((schema.properties ?? {}) as Properties)
  return {
    ...schema,
    properties: Object.fromEntries(properties.filter(([name]) => !names.includes(name))),
  }
}

/** Whether something in the schema names a file. */
export function namesFile(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.some(namesFile)
  if (!isRecord(schema)) return false
  return schema['x-names-file'] === true || Object.values(schema).some(namesFile)
}

/** Whether a value of this schema may be a picture: bytes in base64. */
export function takesPicture(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.some(takesPicture)
  if (!isRecord(schema)) return false
  return schema.contentEncoding === 'base64' || Object.values(schema).some(takesPicture)
}

/** Forms that name a file are left out where there are others, and have given names where there are none. */
function served(schema: unknown, names: readonly string[]): unknown {
  if (Array.isArray(schema)) return schema.map((each) => served(each, names))
  if (!isRecord(schema)) return schema
  if (schema['x-names-file'] === true) {
    return names.length > 0 ? { enum: names } : { not: {}, description: 'this server has none' }
  }
  const copy = Object.entries(schema).map(([name, value]) => {
    if (name === 'anyOf' && Array.isArray(value)) {
      const forms = (value as unknown[]).filter((form) => takesPicture(form) || !isFileForm(form))
      return [name, served(forms, names)]
    }
    return [name, served(value, names)]
  })
  return Object.fromEntries(copy) as JsonSchema
}

/** A form that is nothing but the name of a file, or an object around it. */
function isFileForm(form: unknown): boolean {
  if (!isRecord(form)) return false
  if (form['x-names-file'] === true) return true
  const required = (form.required ?? []) as readonly string[]
  const properties = (form.properties ?? {}) as Properties
  return required.some((name) => properties[name]?.['x-names-file'] === true)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
