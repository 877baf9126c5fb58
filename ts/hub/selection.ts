/** The files of a repository that are needed: of a whole model, or of something that is added to one. */
import { closest } from 'fastest-levenshtein'

/**
 * What a name on the hub, or a path, stands for.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { MagicMix, pull } from 'magicmix'
 *
 * const { path: vae } = await pull('stabilityai/sd-vae-ft-mse', { kind: 'vae' })
 * const { path: tinyDecoder } = await pull('madebyollin/taesd', { kind: 'tinyDecoder' })
 * await using mixer = await MagicMix.load({ model: 'hf:sd1.5', vae, tinyDecoder })
 * ```
 */
export type ModelKind = (typeof modelKinds)[number]
export const modelKinds = ['model', 'lora', 'embedding', 'vae', 'tinyDecoder'] as const

/** A kind in a sentence. */
export const kindTexts: Readonly<Record<ModelKind, string>> = {
  model: 'model',
  lora: 'LoRA',
  embedding: 'embedding',
  vae: 'VAE',
  tinyDecoder: 'tiny decoder',
}

/** The files that are needed, or why the repository cannot be used. */
export type Selection = Chosen | Problem

interface Chosen {
  files: string[]
  /** The file, or the folder, to load; '' is the repository itself. */
  path: string
  /** Whether it would be the same if there were more files than were seen. */
  certain: boolean
}

interface Problem {
  /** 'has no ...' */
  problem: string
  unsupported?: true
  /** Files of which one would do. */
  oneOf?: readonly string[]
  /** The name of a file that was probably meant. */
  similar?: string
}

/** The networks, and the names of their weights before '.safetensors' and '.bin'. */
const networks = [
  { folder: 'text_encoder', safetensors: 'model', bin: 'pytorch_model' },
  { folder: 'unet', safetensors: 'diffusion_pytorch_model', bin: 'diffusion_pytorch_model' },
  { folder: 'vae', safetensors: 'diffusion_pytorch_model', bin: 'diffusion_pytorch_model' },
  { folder: 'text_encoder_2', safetensors: 'model', bin: 'pytorch_model' },
]
/** Of Stable Diffusion XL alone. */
const second = 'text_encoder_2'
export const networkFolders = networks.map(({ folder }) => folder)

/** Folders that no Stable Diffusion 1, 2 and XL has. */
const unsupportedFolders = ['text_encoder_3', 'transformer']

/**
 * What says how a tokenizer fills prompts up and which tokens it has learnt. Its vocabulary is CLIP's,
 * which is in the package.
 */
const tokenizerFiles = ['tokenizer', 'tokenizer_2'].flatMap((folder) =>
  ['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'tokenizer.json'].map(
    (file) => `${folder}/${file}`,
  ),
)

/** Names that files have which are the only ones of their kind, best first. */
const usualNames = {
  lora: [
    'pytorch_lora_weights.safetensors',
    'adapter_model.safetensors',
    'pytorch_lora_weights.bin',
    'adapter_model.bin',
  ],
  embedding: ['learned_embeds.safetensors', 'learned_embeds.bin'],
  vae: [],
  tinyDecoder: ['taesd_decoder.safetensors', 'taesd_decoder.pth'],
}

/** What weights are read from, best first. */
const weightFiles = [/\.(safetensors|gguf)$/, /\.(bin|pt|pth|ckpt)$/]

/**
 * Chooses among the `paths` of a repository.
 *
 * @param named the path of a file or folder in it, if the name has one
 * @param isHere whether the file has been downloaded before
 */
export function choose(
  kind: ModelKind,
  paths: readonly string[],
  named: string | undefined,
  isHere: (path: string) => boolean = () => false,
): Selection {
  if (named === undefined) return chooseInFolder(kind, paths, isHere)
  if (paths.includes(named)) return withCompanion(kind, named, paths)
  const folder = `${named}/`
  const inside = paths.filter((path) => path.startsWith(folder)).map(withoutFolder)
  if (inside.length > 0) {
    return movedTo(
      named,
      chooseInFolder(kind, inside, (path) => isHere(folder + path)),
    )
  }
  if (paths.length === 0) return { problem: `has no file '${named}'` }
  const similar = closest(named, paths)
  return { problem: `has no file '${named}'; did you mean '${similar}'?`, similar }

  function withoutFolder(path: string): string {
    return path.slice(folder.length)
  }
}

function movedTo(folder: string, selection: Selection): Selection {
  const moved = (path: string) => (path === '' ? folder : `${folder}/${path}`)
  if ('files' in selection) {
    return { ...selection, files: selection.files.map(moved), path: moved(selection.path) }
  }
  const { problem, oneOf, ...rest } = selection
  return {
    ...rest,
    problem: `${problem} (in ${folder}/)`,
    ...(oneOf ? { oneOf: oneOf.map(moved) } : {}),
  }
}

function chooseInFolder(
  kind: ModelKind,
  paths: readonly string[],
  isHere: (path: string) => boolean,
): Selection {
  if (kind === 'model') return filesForMixing(paths, isHere)
  if (kind === 'vae' || kind === 'tinyDecoder') return filesOfVae(kind, paths, isHere)
  const chosen = usualFile(kind, paths, isHere)
  if (chosen !== undefined) return withCompanion(kind, chosen, paths)
  if (paths.includes('model_index.json')) {
    return { problem: `is a whole model (it has a model_index.json), not ${article(kind)}` }
  }
  return onlyFile(kind, paths)
}

function usualFile(
  kind: Exclude<ModelKind, 'model'>,
  paths: readonly string[],
  isHere: (path: string) => boolean,
): string | undefined {
  const usual = usualNames[kind].filter((name) => paths.includes(name))
  return usual.find(isHere) ?? usual[0]
}

/** An autoencoder as diffusers writes it, that of a whole model, or a single file. */
function filesOfVae(
  kind: 'vae' | 'tinyDecoder',
  paths: readonly string[],
  isHere: (path: string) => boolean,
): Selection {
  const weights = bestWay(
    [
      ...waysOf('diffusion_pytorch_model', 'safetensors', paths),
      ...waysOf('diffusion_pytorch_model', 'bin', paths),
    ],
    isHere,
  )
  if (weights !== undefined && paths.includes('config.json')) {
    return { files: ['config.json', ...weights], path: '', certain: true }
  }
  const usual = usualFile(kind, paths, isHere)
  if (usual !== undefined) return withCompanion(kind, usual, paths)
  if (paths.some((path) => path.startsWith('vae/'))) return choose(kind, paths, 'vae', isHere)
  return onlyFile(kind, paths)
}

/** The file that has no other beside it; one in the repository's own folder comes before others. */
function onlyFile(kind: Exclude<ModelKind, 'model'>, paths: readonly string[]): Selection {
  const inRoot = paths.filter((path) => !path.includes('/'))
  for (const candidates of [inRoot, paths]) {
    for (const form of weightFiles) {
      const found = candidates.filter((path) => form.test(path))
      if (found.length === 1) return { ...withCompanion(kind, found[0]!, paths), certain: false }
      if (found.length > 1) {
        return {
          problem: `has several files that may be the ${kindTexts[kind]}: ${shortList(found)}`,
          oneOf: found,
        }
      }
    }
  }
  const names = usualNames[kind].filter((name) => name.endsWith('.safetensors'))
  const expected = [
    ...names,
    names.length > 0 ? 'another .safetensors file' : 'a .safetensors file',
  ]
  return { problem: `has no ${kindTexts[kind]}: it would be in ${expected.join(' or ')}` }
}

/** A file with the one beside it that describes it. */
function withCompanion(kind: ModelKind, file: string, paths: readonly string[]): Chosen {
  const [, folder = '', name = ''] = /^(.*\/)?([^/]+)$/.exec(file) ?? []
  const companion =
    kind === 'lora' && /^adapter_model\./.test(name)
      ? `${folder}adapter_config.json`
      : (kind === 'vae' || kind === 'tinyDecoder') && /^diffusion_pytorch_model\./.test(name)
        ? `${folder}config.json`
        : undefined
  if (companion === undefined) return { files: [file], path: file, certain: true }
  const has = paths.includes(companion)
  return { files: has ? [companion, file] : [file], path: file, certain: has }
}

/**
 * Of a repository as diffusers writes it: the networks and tokenizers with their configuration, but
 * neither vocabularies nor the safety checker. Of several files with the same weights, those that are here
 * already, else the smallest: half precision before single, safetensors before pickles.
 */
function filesForMixing(paths: readonly string[], isHere: (path: string) => boolean): Selection {
  const all = new Set(paths)
  if (!all.has('model_index.json')) {
    const single = paths.filter((path) => /\.(safetensors|ckpt|gguf)$/.test(path))
    return {
      problem:
        'is not a diffusers folder' + (single.length > 0 ? `, but has ${shortList(single)}` : ''),
      ...(single.length > 0 ? { oneOf: single } : {}),
    }
  }
  const folder = unsupportedFolders.find((name) =>
    paths.some((path) => path.startsWith(`${name}/`)),
  )
  if (folder !== undefined) {
    const problem = `has a ${folder}, so it is no Stable Diffusion 1, 2 or XL`
    return { problem, unsupported: true }
  }
  const has = (name: string) => paths.some((path) => path.startsWith(`${name}/`))
  if (has(second) && !has('text_encoder')) {
    const problem = `has a ${second} but no text_encoder, so it is the refiner of Stable Diffusion XL`
    return { problem, unsupported: true }
  }

  const files = ['model_index.json']
  if (all.has('scheduler/scheduler_config.json')) files.push('scheduler/scheduler_config.json')
  files.push(...tokenizerFiles.filter((file) => all.has(file)))
  for (const { folder, safetensors, bin } of networks) {
    if (folder === second && !has(second)) continue
    const ways = [
      ...waysOf(`${folder}/${safetensors}`, 'safetensors', paths),
      ...waysOf(`${folder}/${bin}`, 'bin', paths),
    ]
    const weights = bestWay(ways, isHere)
    if (weights === undefined) {
      const other = otherWeights(folder, paths)
      return {
        problem:
          `has no weights in ${folder}/, as .safetensors or .bin` +
          (other === undefined ? '' : `; there is ${other.file}, ${other.what}`),
      }
    }
    if (all.has(`${folder}/config.json`)) files.push(`${folder}/config.json`)
    files.push(...weights)
  }
  return { files, path: '', certain: true }
}

/** Files of other frameworks. */
const foreign: readonly [RegExp, string][] = [
  [/\.msgpack$/, 'Flax'],
  [/\.(onnx|onnx_data|pb)$/, 'ONNX'],
  [/^openvino_.*\.(xml|bin)$/, 'OpenVINO'],
  [/\.h5$/, 'TensorFlow'],
]

/** Weights that a network's folder has in the place of those that are read. */
export interface OtherWeights {
  file: string
  /** For people. */
  what: string
  /** The name under which they would be read; '' for those of other frameworks. */
  wanted: string
}

/** @returns undefined if the folder has weights that are read, or none at all */
export function otherWeights(folder: string, paths: readonly string[]): OtherWeights | undefined {
  const network = networks.find((each) => each.folder === folder)
  if (network === undefined) return undefined
  const names = paths
    .filter((path) => path.startsWith(`${folder}/`))
    .map((path) => path.slice(folder.length + 1))
  const { safetensors, bin } = network
  const read = new RegExp(
    `^(${safetensors}|${bin})(\\.fp16)?(-\\d{5}-of-\\d{5})?(\\.fp16)?\\.(safetensors|bin)(\\.index(\\.fp16)?\\.json)?$`,
  )
  if (names.some((name) => read.test(name))) return undefined
  for (const name of names) {
    const [, stem, variant, extension] =
      /^([^.]+)\.(.+?)(?:-\d{5}-of-\d{5})?\.(safetensors|bin)$/.exec(name) ?? []
    if (variant !== undefined && [safetensors, bin].includes(stem ?? '')) {
      const what = `the variant '${variant}'`
      return { file: `${folder}/${name}`, what, wanted: `${stem}.${extension}` }
    }
  }
  for (const name of names) {
    const [, framework] = foreign.find(([form]) => form.test(name)) ?? []
    if (framework !== undefined) {
      return { file: `${folder}/${name}`, what: `weights of ${framework}`, wanted: '' }
    }
  }
  return undefined
}

function bestWay(ways: string[][], isHere: (path: string) => boolean): string[] | undefined {
  return ways.find((way) => way.every(isHere)) ?? ways[0]
}

/** The first few of many names. */
export function shortList(names: readonly string[]): string {
  const most = 8
  const more = names.length > most ? `, and ${names.length - most} more` : ''
  return names.slice(0, most).join(', ') + more
}

function article(kind: ModelKind): string {
  return kind === 'embedding' ? `an ${kindTexts[kind]}` : `a ${kindTexts[kind]}`
}

/** The sets of files that each hold all weights of a network, best first. */
function waysOf(stem: string, extension: string, paths: readonly string[]): string[][] {
  const all = new Set(paths)
  const ways: string[][] = []
  for (const variant of ['.fp16', '']) {
    const single = `${stem}${variant}.${extension}`
    if (all.has(single)) ways.push([single])

    // transformers and diffusers put the variant on different sides of the number
    const index = [
      `${stem}${variant}.${extension}.index.json`,
      `${stem}.${extension}.index${variant}.json`,
    ].find((path) => all.has(path))
    const shards = paths.filter((path) => path.startsWith(stem) && isShard(path.slice(stem.length)))
    if (index !== undefined && shards.length > 0 && shards.length === countOf(shards[0]!)) {
      ways.push([index, ...shards])
    }

    function isShard(rest: string): boolean {
      const number = /-\d{5}-of-\d{5}/.exec(rest)?.[0] ?? ''
      const named = [`${variant}${number}.${extension}`, `${number}${variant}.${extension}`]
      return number !== '' && named.includes(rest)
    }
  }
  return ways
}

function countOf(shard: string): number {
  return Number(/-of-(\d{5})/.exec(shard)?.[1])
}
