/** `magicmix pull`: gets a model from the hub. */
import { type PullOptions, pullOptions } from '../hub/pull.js'
import { shortNames } from '../hub/references.js'
import type { ModelKind } from '../hub/selection.js'
import { type Arguments, type Command, UsageError } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { bytes, licenseText, startReport } from './report.js'

const shortNameLines = Object.entries(shortNames).map(
  ([name, { repo, license }]) => `  ${name}  ${repo} (${license.name})`,
)

/** How a mix takes what was pulled. */
const uses: Readonly<Record<ModelKind, string>> = {
  model: '--model ',
  lora: '--lora ',
  embedding: '--embedding NAME=',
  vae: '--vae ',
  tinyDecoder: '--tiny-decoder ',
}

export const command: Command = {
  name: 'pull',
  usage: 'pull [options] NAME',
  summary: 'download a model from the Hugging Face hub',
  about: `Downloads the model NAME: ORG/NAME, where a diffusers folder is (only what mixing needs of it), or
ORG/NAME/FILE; with @REVISION after NAME for a branch, tag or commit. Or one of
${shortNameLines.join('\n')}
With --kind the same for a LoRA, an embedding, a VAE or a tiny decoder.
What is in the cache, which Python programs share, is not downloaded again. A download that was
stopped goes on where it was. The environment may set HF_ENDPOINT, HF_TOKEN, HF_HUB_CACHE, HF_HOME
and HF_HUB_OFFLINE.`,
  examples: [
    'magicmix pull sd1.5',
    `# one file of a repository
magicmix pull stable-diffusion-v1-5/stable-diffusion-v1-5/v1-5-pruned-emaonly.safetensors`,
    `# an embedding, which mix then takes as --embedding "<cat-toy>=hf:sd-concepts-library/cat-toy"
magicmix pull --kind embedding sd-concepts-library/cat-toy`,
  ],
  options: flagsOf(pullOptions),
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0) {
    throw new UsageError(`Expected one NAME but received ${positionals.length} arguments`)
  }
  const { pull } = await import('../hub/pull.js')
  const report = startReport()
  try {
    const onProgress = report.show.bind(report)
    const options: PullOptions = optionsFrom(pullOptions, values)
    const { kind } = options
    const pulled = await pull(name, {
      ...options,
      onProgress,
      signal,
    })
    report.end()
    if (values.json) {
      console.log(JSON.stringify(pulled))
      return
    }
    const { path, model, repo, commit, license, downloadedBytes } = pulled
    console.log(`${path}

${repo} at ${commit}, ${licenseText(license)}
${downloadedBytes > 0 ? `${bytes(downloadedBytes)} downloaded` : 'It was in the cache.'}

Mix with it:
  magicmix mix LAYOUT CONTENT ${uses[kind ?? 'model']}${model}`)
  } finally {
    report.end()
  }
}
