/** `sharp`, loaded when it is first needed: the package can be imported where its addon cannot load. */
import type sharpOfItsOwn from 'sharp'
import type { Sharp } from 'sharp'

import { MagicMixError, messageOf } from './errors.js'

export type { Sharp }

type MakeSharp = (...args: Parameters<typeof sharpOfItsOwn>) => Sharp

let loaded: MakeSharp | undefined

/** @throws {@link MagicMixError} ADDON_UNAVAILABLE */
export const sharp: MakeSharp = (...args) => {
  loaded ??= load()
  return loaded(...args)
}

function load(): MakeSharp {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- not before it is needed
    return require('sharp') as MakeSharp
  } catch (error) {
    const problem = messageOf(error)
    const permission = /ERR_DLOPEN_DISABLED/.test(problem)
      ? "\nWith Node's permission model, --allow-addons is needed."
      : ''
    throw new MagicMixError(
      'ADDON_UNAVAILABLE',
      `sharp, which reads and writes pictures, cannot be loaded: ${problem}${permission}`,
      {
        platform: `${process.platform}-${process.arch}`,
        libc: '',
        node: process.versions.node,
        attempts: [{ file: 'sharp', problem }],
        prebuilt: [],
      },
      { cause: error },
    )
  }
}
