/** The files of a repository that mixing needs. */

/** The networks, and the names of their weights before '.safetensors' and '.bin'. */
const networks = [
  { folder: 'text_encoder', safetensors: 'model', bin: 'pytorch_model' },
  { folder: 'unet', safetensors: 'diffusion_pytorch_model', bin: 'diffusion_pytorch_model' },
  { folder: 'vae', safetensors: 'diffusion_pytorch_model', bin: 'diffusion_pytorch_model' },
]

/** Folders that Stable Diffusion 1 and 2 do not have. */
const unsupportedFolders = ['text_encoder_2', 'text_encoder_3', 'transformer']

/** The files that are needed, or why the repository cannot be used. */
export type Selection = { files: string[] } | { problem: string; unsupported?: true }

/**
 * Of a repository as diffusers writes it: the networks with their configuration, but neither the
 * tokenizer nor the safety checker. Of several files with the same weights, those that are here
 * already, else the smallest: half precision before single, safetensors before pickles.
 *
 * @param isHere whether the file has been downloaded before
 */
export function filesForMixing(
  paths: readonly string[],
  isHere: (path: string) => boolean = () => false,
): Selection {
  const all = new Set(paths)
  if (!all.has('model_index.json')) {
    const single = paths.filter((path) => /\.(safetensors|ckpt|gguf)$/.test(path)).slice(0, 8)
    return {
      problem:
        'is not a diffusers folder' +
        (single.length > 0 ? `; name one of its files: ${single.join(', ')}` : ''),
    }
  }
  const folder = unsupportedFolders.find((name) =>
    paths.some((path) => path.startsWith(`${name}/`)),
  )
  if (folder !== undefined) {
    return { problem: `has a ${folder}, so it is no Stable Diffusion 1 or 2`, unsupported: true }
  }

  const files = ['model_index.json']
  if (all.has('scheduler/scheduler_config.json')) files.push('scheduler/scheduler_config.json')
  for (const { folder, safetensors, bin } of networks) {
    const ways = [
      ...waysOf(`${folder}/${safetensors}`, 'safetensors', paths),
      ...waysOf(`${folder}/${bin}`, 'bin', paths),
    ]
    const weights = ways.find((way) => way.every(isHere)) ?? ways[0]
    if (weights === undefined) {
      return { problem: `has no weights in ${folder}/, as .safetensors or .bin` }
    }
    if (all.has(`${folder}/config.json`)) files.push(`${folder}/config.json`)
    files.push(...weights)
  }
  return { files }
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
