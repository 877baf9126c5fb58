#!/usr/bin/env node
/**
 * Writes docs/reference/config-keys.md from the engine's table of the keys in models' configuration files; with
 * --check only says whether it is up to date. Needs the addon and dist/.
 */
import { built, page } from './generated.mjs'

const keys = built('native/native.js').native().configKeys()

/** Rows with the same reason stand together. */
function tableOf(name) {
  const groups = new Map()
  for (const key of keysOf(name)) {
    const group = `${key.treatment}: ${key.why}`
    groups.set(group, [...(groups.get(group) ?? []), key])
  }
  const lines = [...groups.values()].map((group) => {
    const [{ treatment, why }] = group
    const names = group.map(({ key, values }) =>
      values ? `\`${key}\` (${valuesOf(values)})` : `\`${key}\``,
    )
    return `| ${words[treatment]} | ${names.join(', ')} | ${why} |`
  })
  return `## ${name}\n\n| | key | |\n| --- | --- | --- |\n${lines.join('\n')}\n`
}

const words = { honoured: 'honoured', harmless: 'harmless', only: 'with these values only' }
const keysOf = (name) => keys.filter((key) => key.file === name)

function valuesOf(json) {
  return JSON.parse(json)
    .map((value) => `\`${JSON.stringify(value)}\``)
    .join(' or ')
    .replaceAll('|', '\\|')
}

const text = `# Keys of configuration files

Made by \`npm run docs:config\` from the table that files are checked by. What a model's files declare is
honoured or refused: a key that is not listed here is refused by name with \`MODEL_UNSUPPORTED\`, since it
may change what the networks compute.

\`MODEL.yaml\` is the configuration of an original checkpoint, a file of the same name beside it; dots stand
between the keys of nested mappings. GGUF and safetensors files that \`convert\` wrote carry the same keys.

${[...new Set(keys.map((key) => key.file))].map(tableOf).join('\n')}`

await page('config-keys.md', text, 'docs:config')
