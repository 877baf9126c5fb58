/** The config file of a server: YAML, or JSON, which is YAML as well. */
import { readFile } from 'node:fs/promises'

import { MagicMixError } from 'magicmix'
import { parse } from 'yaml'

import { type ServerOptions, logLevels } from './options.js'

/** What a config file may say. */
export interface Config extends Omit<
  ServerOptions,
  'mixer' | 'jobs' | 'processMetrics' | 'heartbeat'
> {
  host?: string
  port?: number
}

const kinds: Readonly<Record<keyof Config, string>> = {
  host: 'a string',
  port: 'a number',
  models: 'an object',
  defaultModel: 'a string',
  memory: 'a number',
  redis: 'an object',
  loras: 'an object',
  token: 'a string',
  hosts: 'a list',
  behindProxy: 'true or false',
  limits: 'an object',
  log: `one of ${logLevels.join(', ')}`,
}

/** @throws MagicMixError INVALID_ARGUMENT, UNKNOWN_OPTION */
export async function readConfig(file: string): Promise<Config> {
  let value: unknown
  try {
    value = parse(await readFile(file, 'utf8')) as unknown
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    throw new MagicMixError('INVALID_ARGUMENT', `The config file cannot be read: ${problem}`, {
      name: 'config',
    })
  }
  if (value === null || value === undefined) return {}
  if (kindOf(value) !== 'an object') throw wrong('the config file', 'an object', value)
  for (const [name, each] of Object.entries(value)) {
    if (!Object.hasOwn(kinds, name)) {
      const message = `The config file has no option '${name}'; it has ${Object.keys(kinds).join(', ')}`
      throw new MagicMixError('UNKNOWN_OPTION', message, { option: name })
    }
    const { [name as keyof Config]: kind } = kinds
    const isLevel = name === 'log' && logLevels.includes(each as never)
    if (!isLevel && kindOf(each) !== kind) throw wrong(name, kind, each)
  }
  return value
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'boolean') return 'true or false'
  if (typeof value === 'object') return value === null ? 'null' : 'an object'
  return `a ${typeof value}`
}

function wrong(name: string, expected: string, received: unknown): MagicMixError {
  const message = `Expected ${expected} for ${name} of the config file but received ${kindOf(received)}`
  return new MagicMixError('INVALID_ARGUMENT', message, { name, expected })
}
