/** Environment variables about the hub, under the names that its Python library reads. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { MagicMixError } from '../errors.js'
import { homeFolder } from '../home.js'

/** The hub, or a mirror of it (`HF_ENDPOINT`), without a slash at the end. */
export function endpoint(): string {
  const given = process.env.HF_ENDPOINT || 'https://huggingface.co'
  if (!/^https?:\/\//.test(given) || !URL.canParse(given)) {
    throw new MagicMixError(
      'INVALID_ARGUMENT',
      `Expected an address such as https://huggingface.co in HF_ENDPOINT but received '${given}'`,
      { name: 'HF_ENDPOINT', received: given },
    )
  }
  return given.replace(/\/+$/, '')
}

/** Whether only the cache may be used (`HF_HUB_OFFLINE`). */
export function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '')
}

/** `HF_TOKEN`, or what `hf auth login` has left behind. */
export async function accessToken(): Promise<string | undefined> {
  const file = fromHome(process.env.HF_TOKEN_PATH) ?? path.join(huggingFaceFolder(), 'token')
  const token = process.env.HF_TOKEN || (await readFile(file, 'utf8').catch(() => ''))
  return token.trim() || undefined
}

/** Where everything that comes from the hub is kept, for all programs that use it. */
export function cacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env
  return fromHome(HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE) ?? path.join(huggingFaceFolder(), 'hub')
}

function huggingFaceFolder(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env
  return (
    fromHome(HF_HOME) ??
    path.join(fromHome(XDG_CACHE_HOME) ?? path.join(homeFolder('HF_HOME'), '.cache'), 'huggingface')
  )
}

function fromHome(folder: string | undefined): string | undefined {
  return folder
    ? path.resolve(folder.replace(/^~(?=$|[/\\])/, () => homeFolder('HF_HOME')))
    : undefined
}
