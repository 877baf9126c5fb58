#!/usr/bin/env node
/**
 * Writes docs/options.md from the tables in which options are declared; with --check only says whether
 * it is up to date. Needs dist/.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import prettier from 'prettier'

const require = createRequire(import.meta.url)
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const table = (file, name) => require(path.join(root, 'dist', file))[name]

const calls = [
  ['`mixer.mix`, `mixer.check`', 'magicmix mix', table('request/mix-options.js', 'mixOptions')],
  [
    '`mixer.sweep`, beside those of `mixer.mix`',
    'magicmix sweep',
    table('sweep/axes.js', 'sweepOptions'),
  ],
  ['`sweep.best`', 'magicmix sweep', table('request/score.js', 'bestOptions')],
  [
    '`mixer.compare`, beside those of `mixer.mix`',
    'magicmix compare',
    table('sweep/comparison.js', 'compareOptions'),
  ],
  ['`mix.toBuffer`', 'magicmix mix', table('mix.js', 'bufferOptions')],
  ['`MagicMix.load`', 'magicmix mix', table('models/load-options.js', 'loadOptions')],
  ['`convert`', 'magicmix convert', table('models/convert-options.js', 'convertOptions')],
  ['`pull`', 'magicmix pull', table('hub/pull.js', 'pullOptions')],
  ['`devices`', 'magicmix devices', table('devices/devices.js', 'devicesOptions')],
]

function rowsOf(options, prefix = '') {
  return Object.entries(options).flatMap(([name, option]) => {
    const { help, range, cli, fields } = option
    const row = [
      `\`${prefix}${name}\``,
      cli ? `\`${cli.short ? `-${cli.short}, ` : ''}--${cli.flag}\`` : '',
      defaultOf(option),
      range.startsWith("'") ? `\`${range}\`` : range,
      help,
    ]
    return [row, ...(fields ? rowsOf(fields, `${prefix}${name}.`) : [])]
  })
}

function defaultOf({ required, instead, defaultText, default: value }) {
  if (required) return 'required'
  if (instead) return `required, or \`${instead}\``
  if (defaultText !== undefined) return defaultText
  if (value === undefined) return 'none'
  return `\`${typeof value === 'string' ? `'${value}'` : JSON.stringify(value)}\``
}

function tableOf([call, command, options]) {
  const lines = [
    ['option', `\`${command}\``, 'default', 'range', 'meaning'],
    ['---', '---', '---', '---', '---'],
    ...rowsOf(options),
  ].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  return `## ${call}\n\n${lines.join('\n')}\n`
}

const text = `# Options

Made by \`npm run docs:options\` from the tables that the options are declared in. Prompts have at most 75
tokens. \`requestSchema\` is the JSON Schema of the options of \`mix\`.

${calls.map(tableOf).join('\n')}`

const file = path.join(root, 'docs', 'options.md')
const options = await prettier.resolveConfig(file)
const formatted = await prettier.format(text, { ...options, filepath: file })
if (!process.argv.includes('--check')) {
  writeFileSync(file, formatted)
} else if (readFileSync(file, 'utf8') !== formatted) {
  console.error('docs/options.md is not up to date: npm run docs:options')
  process.exitCode = 1
}
