/** The needs of `magicmix build`, and how to get them: said before CMake says it in a hundred lines. */
import { execFileSync } from 'node:child_process'

import { MagicMixError } from '../errors.js'

export type GpuOption = 'cuda' | 'vulkan' | 'metal'

interface Need {
  what: string
  /** One of these has to be on the PATH ... */
  programs: readonly string[]
  /** ... unless one of these environment variables, or options of CMake, says where it is. */
  elsewhere: readonly string[]
  /** Errors of CMake and compilers that mean it is missing, or too old. */
  sign: RegExp
  install: Partial<Record<'linux' | 'darwin' | 'win32', string>>
}

const cmake: Need = {
  what: 'CMake 3.19 or later',
  programs: ['cmake'],
  elsewhere: [],
  sign: /CMake .* or higher is required|CMake is not installed/,
  install: {
    linux: perDistribution('cmake', 'cmake', 'cmake'),
    darwin: 'brew install cmake',
    win32: 'winget install Kitware.CMake',
  },
}

const compiler: Need = {
  what: 'a C++17 compiler',
  // What cmake-js asks for.
  programs: ['g++', 'clang++'],
  elsewhere: [],
  sign: /No CMAKE_C(XX)?_COMPILER|Visual C\+\+|instance of Visual Studio|Compiler toolset/i,
  install: {
    linux: perDistribution('g++', 'gcc-c++', 'g++'),
    darwin: 'xcode-select --install',
    win32: "Visual Studio's Build Tools with the workload for desktop C++",
  },
}

const buildProgram: Need = {
  what: 'make or ninja',
  programs: ['make', 'ninja'],
  elsewhere: [],
  sign: /unable to find a build program/,
  install: {
    linux: perDistribution('make', 'make', 'make'),
    darwin: 'xcode-select --install',
  },
}

const cuda: Need = {
  what: 'the CUDA toolkit with cuBLAS',
  programs: ['nvcc'],
  elsewhere: ['CUDACXX', 'CUDA_PATH', 'CMAKE_CUDA_COMPILER', 'CUDAToolkit_ROOT'],
  sign: /CUDA|cublas|nvcc/i,
  install: {
    linux: "apt-get install nvidia-cuda-toolkit, or NVIDIA's own packages",
    win32: "NVIDIA's installer",
  },
}

const vulkan: Need = {
  what: "glslc with the headers of Vulkan 1.4 (-- -DMAGICMIX_VULKAN_INCLUDE=DIR, if not the system's) and of SPIR-V",
  programs: ['glslc'],
  elsewhere: ['VULKAN_SDK', 'Vulkan_GLSLC_EXECUTABLE'],
  sign: /vulkan|\bvk::|\bVK_|SPIRV|glslc/i,
  install: {
    linux: perDistribution(
      'glslc libvulkan-dev spirv-headers',
      'glslc vulkan-loader-devel spirv-headers-devel',
      'shaderc vulkan-loader-dev vulkan-headers spirv-headers',
    ),
    darwin: 'brew install shaderc vulkan-loader vulkan-headers spirv-headers',
    win32: 'the Vulkan SDK',
  },
}

function perDistribution(debian: string, fedora: string, alpine: string): string {
  return `apt-get install ${debian} (Debian), dnf install ${fedora} (Fedora), apk add ${alpine} (Alpine)`
}

function needsOf(chosen: readonly GpuOption[]): Need[] {
  return [
    cmake,
    // Those of Visual C++ are on nobody's PATH: cmake-js looks for them.
    ...(process.platform === 'win32' ? [] : [compiler, buildProgram]),
    ...(chosen.includes('cuda') ? [cuda] : []),
    ...(chosen.includes('vulkan') ? [vulkan] : []),
  ]
}

/** Throws if a program is missing; `options` are those of CMake. */
export function requireTools(chosen: readonly GpuOption[], options: readonly string[]): void {
  if (chosen.includes('metal') && process.platform !== 'darwin') {
    throw unmet('--metal needs a Mac', { platform: process.platform })
  }
  for (const need of needsOf(chosen)) {
    if (isElsewhere(need, options) || need.programs.some(runs)) continue
    const names = need.programs.map((name) => `'${name}'`).join(' or ')
    throw unmet(`${need.what} is needed, but there is no ${names} on the PATH.${advice(need)}`, {
      programs: need.programs,
    })
  }
}

/** A remedy for the first error of a build; empty if none is known. */
export function adviceFor(firstError: string, chosen: readonly GpuOption[]): string {
  // Those of a backend first: a compiler's error in one is not about the compiler.
  const need = needsOf(chosen)
    .reverse()
    .find(({ sign }) => sign.test(firstError))
  return need ? ` Needed is ${need.what}.${advice(need)}` : ''
}

function advice({ install }: Need): string {
  const how = install[process.platform as keyof Need['install']]
  return how ? ` For example: ${how}.` : ''
}

function isElsewhere({ elsewhere }: Need, options: readonly string[]): boolean {
  return elsewhere.some(
    (name) =>
      process.env[name] || options.some((option) => new RegExp(`^-D${name}[:=]`).test(option)),
  )
}

function runs(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function unmet(message: string, details: Record<string, unknown>): MagicMixError {
  return new MagicMixError('BUILD_FAILED', message, details)
}
