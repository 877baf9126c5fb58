/**
 * A verdict on a GPU depends on the addon, the library of its backend, and the driver, which every
 * system describes in its own way.
 */
import { createHash } from 'node:crypto'
import { readFile, readdir, stat } from 'node:fs/promises'
import { homedir, release } from 'node:os'
import path from 'node:path'

import { addon } from '../native/native.js'
import type { BackendLibrary } from './libraries.js'

/** Changes when a verdict has to be found anew. */
export async function fingerprint({ file }: BackendLibrary): Promise<string> {
  const parts = await Promise.all([
    stampOf(addon().file),
    stampOf(file),
    ...driverFiles().map(stampOf),
    ...driverFolders().map(stampsIn),
    ...kernelFiles.map((name) => readFile(name, 'utf8').catch(() => '')),
  ])
  return digest([process.arch, release(), settings(), parts])
}

export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16)
}

/** Why no device of that backend can be there; empty if only a closer look can say. */
export async function driverMissing({ backend }: BackendLibrary): Promise<string> {
  if (backend === 'vulkan' && process.platform === 'linux' && !settingsOf(/^VK_/).length) {
    const found = await Promise.all(icdFolders().map((folder) => readdir(folder).catch(() => [])))
    return found.flat().length > 0 ? '' : `no Vulkan driver is installed (${icdFolders()[0]})`
  }
  if (backend === 'cuda' && process.platform === 'linux') {
    const nodes = await Promise.all(nvidiaNodes.map(stampOf))
    return nodes.some(Boolean) ? '' : 'no NVIDIA driver is loaded (/dev/nvidiactl)'
  }
  return ''
}

/** Of WSL the second, of Jetson boards the third. */
const nvidiaNodes = ['/dev/nvidiactl', '/dev/dxg', '/dev/nvmap']

const kernelFiles = [
  '/proc/driver/nvidia/version',
  ...['amdgpu', 'i915', 'xe', 'nouveau'].map((module) => `/sys/module/${module}/srcversion`),
]

function driverFiles(): string[] {
  if (process.platform !== 'win32') return nvidiaNodes
  const system = path.join(process.env.SystemRoot ?? 'C:\\Windows', 'System32')
  return ['vulkan-1.dll', 'nvcuda.dll'].map((name) => path.join(system, name))
}

/** The devices that a container sees, and the list of Vulkan's drivers. */
function driverFolders(): string[] {
  return process.platform === 'linux' ? ['/dev/dri', ...icdFolders()] : []
}

function icdFolders(): string[] {
  const { XDG_DATA_HOME, XDG_DATA_DIRS } = process.env
  return [
    ...(XDG_DATA_DIRS || '/usr/local/share:/usr/share').split(':').reverse(),
    '/etc',
    ...(XDG_DATA_HOME ? [XDG_DATA_HOME] : dataOfHome()),
  ].map((folder) => path.join(folder, 'vulkan', 'icd.d'))
}

/** Nothing for a user without a home. */
function dataOfHome(): string[] {
  try {
    return [path.join(homedir(), '.local', 'share')]
  } catch {
    return []
  }
}

/** Variables that a driver or its loader reads. */
function settings(): string[] {
  return settingsOf(/^(VK_|GGML_|CUDA_|NVIDIA_|MESA_|DRI_|LIBGL_|LD_LIBRARY_PATH)/)
}

function settingsOf(names: RegExp): string[] {
  return Object.entries(process.env)
    .filter(([name]) => names.test(name))
    .map(([name, value]) => `${name}=${value ?? ''}`)
    .sort()
}

async function stampsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return Promise.all(names.sort().map((name) => stampOf(path.join(folder, name))))
}

/** Empty if there is no such file. */
async function stampOf(file: string): Promise<string> {
  return stat(file).then(
    ({ size, mtimeMs, rdev }) => [file, size, rdev ? 0 : mtimeMs].join(' '),
    () => '',
  )
}
