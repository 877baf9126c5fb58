/**
 * The addon, loaded when it is first needed: a program can import the package, and ask for its help or
 * version, where the addon does not load. Nothing else in `ts/` touches the untyped module.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'

import { nativeRoot } from '../package-files.js'
import { loadAddon } from './addon.js'
import type { NativeBinding } from './contract.js'

/** The addon, and where it and its libraries lie. */
export interface Addon {
  binding: NativeBinding
  file: string
  /** The libraries of its backends lie beside it: those of `magicmix.node` in `magicmix.backends`. */
  backendsFolder: string
  /** Why only the slowest of the CPU's operations are used; empty if that is not so. */
  cpuProblem: string
}

let loaded: Addon | undefined

/** @throws {@link MagicMixError} ADDON_UNAVAILABLE */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

/** @throws {@link MagicMixError} ADDON_UNAVAILABLE */
export function native(): NativeBinding {
  return addon().binding
}

function load(): Addon {
  const { exports, file } = loadAddon(nativeRoot)
  const binding = exports as NativeBinding
  const backendsFolder = file.replace(/\.node$/, '.backends')
  return { binding, file, backendsFolder, cpuProblem: chooseCpu(binding, backendsFolder) }
}

/** Loads the operations that suit this CPU best. Without them everything works, some of it slower. */
function chooseCpu(binding: NativeBinding, folder: string): string {
  try {
    const files = readdirSync(folder).filter((name) => /^magicmix-cpu-.*\.(so|dll)$/.test(name))
    binding.chooseCpu(files.map((name) => path.join(folder, name)))
    return ''
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? `there is no folder ${folder}` : message
  }
}
