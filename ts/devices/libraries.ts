/** The libraries of GPU backends that are installed: one at most for each kind. */
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'

import { addon } from '../native/native.js'

/** In the order in which `auto` prefers them. */
export const gpuBackends = ['cuda', 'metal', 'vulkan'] as const
export type GpuBackend = (typeof gpuBackends)[number]

export interface BackendLibrary {
  backend: GpuBackend
  /** Ends in '.br' if it has to be unpacked before it can be loaded. */
  file: string
}

/** The package that brings CUDA: its main file exports the path of the library. */
const cudaPackage = `magicmix-cuda-${process.platform}-${process.arch}`

/**
 * The folders of MAGICMIX_BACKENDS come first, then the libraries beside the addon, then those of a package
 * of its own brings.
 */
export async function backendLibraries(): Promise<BackendLibrary[]> {
  const folders = [
    ...(process.env.MAGICMIX_BACKENDS ?? '').split(path.delimiter),
    addon().backendsFolder,
  ]
  const lists = await Promise.all(folders.filter(Boolean).map(librariesIn))
  const all = [...lists.flat(), ...cudaOfItsOwn()]
  return gpuBackends.flatMap((backend) => all.find((each) => each.backend === backend) ?? [])
}

async function librariesIn(folder: string): Promise<BackendLibrary[]> {
  const names = await readdir(folder).catch(() => [])
  return names.sort().flatMap((name) => {
    const backend = /^magicmix-(cuda|metal|vulkan)\.(so|dll)(\.br)?$/.exec(name)?.[1]
    return backend ? { backend: backend as GpuBackend, file: path.join(folder, name) } : []
  })
}

function cudaOfItsOwn(): BackendLibrary[] {
  try {
    const file: unknown = createRequire(__filename)(cudaPackage)
    return typeof file === 'string' ? [{ backend: 'cuda', file }] : []
  } catch {
    return []
  }
}

/** Why there is no library of a backend, and how to get one. */
export function whyMissing(backend: GpuBackend): string {
  if (backend === 'metal' && process.platform !== 'darwin') return 'only on a Mac'
  if (backend !== 'metal' && process.platform === 'darwin') return 'not on a Mac'
  const build = `"npx magicmix build --${backend}" builds it`
  return backend === 'cuda'
    ? `not part of this package: "npm install ${cudaPackage}" brings it, ${build}`
    : `this package has none for ${process.platform}-${process.arch}; ${build}`
}
