/**
 * The configuration of an original checkpoint: a .yaml of the same name beside the file, as the
 * repositories of CompVis and Stability AI have it and the AUTOMATIC1111 web UI reads it.
 */
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'

import { MagicMixError } from '../errors.js'

const mostBytes = 1 << 20

/** As JSON text; '' if there is none, or if what is there is no model's. The engine checks its keys. */
export async function originalConfigOf(model: string): Promise<string> {
  const { dir, name, ext } = path.parse(model)
  if (ext === '' || ext === '.yaml') return ''
  const file = path.join(dir, `${name}.yaml`)
  const found = await stat(file).catch(() => undefined)
  if (!found?.isFile()) return ''
  if (found.size > mostBytes) throw unreadable(file, `it has more than ${mostBytes} bytes`)
  const config = await parsed(file)
  const isModel = typeof config === 'object' && config !== null && 'model' in config
  return isModel ? JSON.stringify(config) : ''
}

async function parsed(file: string): Promise<unknown> {
  // Late, since most models have no such file.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { parse } = require('yaml') as typeof import('yaml')
  try {
    return parse(await readFile(file, 'utf8')) as unknown
  } catch (error) {
    throw unreadable(file, (error as Error).message.replace(/\n.*/s, ''))
  }
}

function unreadable(file: string, why: string): MagicMixError {
  return new MagicMixError(
    'MODEL_FORMAT',
    `'${file}' is not the configuration of a model: ${why}`,
    {
      path: file,
    },
  )
}
