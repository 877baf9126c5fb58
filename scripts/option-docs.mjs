#!/usr/bin/env node
/**
 * Writes docs/reference/options.md and docs/reference/cli/ from the tables in which options and commands
 * are declared; with --check only says whether they are up to date. Needs dist/.
 */
import { built, page, table } from './generated.mjs'

const rows = (file, name) => built(file)[name]
const { commands } = built('cli/commands.js')
const { commonOptions } = built('cli/command.js')
const made = 'Made by `npm run docs:options` from the tables that'

const calls = [
  ['`mixer.mix`, `mixer.check`', 'mix', rows('request/mix-options.js', 'mixOptions')],
  ['`mixer.sweep`, beside those of `mixer.mix`', 'sweep', rows('sweep/axes.js', 'sweepOptions')],
  ['`sweep.best`', 'sweep', rows('request/score.js', 'bestOptions')],
  [
    '`mixer.compare`, beside those of `mixer.mix`',
    'compare',
    rows('sweep/comparison.js', 'compareOptions'),
  ],
  ['`mix.toBuffer`', 'mix', rows('mix.js', 'bufferOptions')],
  ['`MagicMix.load`', 'mix', rows('models/load-options.js', 'loadOptions')],
  ['`convert`', 'convert', rows('models/convert-options.js', 'convertOptions')],
  ['`pull`', 'pull', rows('hub/pull.js', 'pullOptions')],
  ['`devices`', 'devices', rows('devices/devices.js', 'devicesOptions')],
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

function callTable([call, command, options]) {
  const flag = `[\`magicmix ${command}\`](cli/${command}.md)`
  return `## ${call}\n\n${table(['option', flag, 'default', 'range', 'meaning'], rowsOf(options))}\n`
}

await page(
  'options.md',
  `# Options

${made} the options are declared in. Prompts have at most 75
tokens. \`requestSchema\` is the JSON Schema of the options of \`mix\`.

${calls.map(callTable).join('\n')}`,
  'docs:options',
)

// -------------------------------------------------------------------------------------------------
// The command line

/** A sentence of the help, which is plain text: what Markdown would read as its own is escaped. */
const plain = (text) => text.replace(/[<>*[\]`]/g, '\\$&').replace(/\n(?!\n)/g, ' ')

function flagTable(options) {
  const flags = Object.entries(options).map(([name, { short, value, help }]) => {
    const spelling = `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`
    return [`\`${spelling}\``, ...factsOf(help).map(plain)]
  })
  return table(['flag', 'meaning', 'range, default'], flags)
}

/** 'a sentence [facts]' in its two parts. */
function factsOf(help) {
  const [, sentence, facts] =
    /^(.*?)(?: \[((?:default |may be|[^[]*\d\.\.|[a-z0-9_]+,)[^]*)\])?$/.exec(help)
  return [sentence, facts ?? '']
}

function commandPage({ name, usage, summary, about, examples, options }) {
  const paragraphs = about.split('\n\n').map(plain).join('\n\n')
  return `# magicmix ${name}

${summary[0].toUpperCase()}${plain(summary.slice(1))}.

\`\`\`text
magicmix ${usage}
\`\`\`

${paragraphs}

## Examples

<!-- snippet: not run, needs pictures and models of your own -->

\`\`\`sh
${examples.join('\n\n')}
\`\`\`

## Flags

${flagTable(options)}

Every command also takes ${Object.keys(commonOptions)
    .map((flag) => `\`--${flag}\``)
    .join(', ')}: see [the command line](index.md).
`
}

await page(
  'cli/index.md',
  `# Command line

${made} the commands are declared in.

${table(
  ['command', ''],
  Object.values(commands).map(({ name, summary }) => [`[\`${name}\`](${name}.md)`, plain(summary)]),
)}

\`magicmix COMMAND --help\` prints a command's page, \`magicmix --version\` the version. Every command takes

${flagTable(commonOptions)}

The picture or the JSON goes to standard output, everything else to standard error: progress is a bar on a terminal
and plain lines in a pipe. Without \`--model\` and \`MAGICMIX_MODEL\` the model in the package is used.

| exit code | |
| --- | --- |
| 0 | done |
| 1 | failed: the message ends with the [code](../errors.md) |
| 2 | called wrongly |
| 130, 143, 129 | stopped by Ctrl-C, SIGTERM, SIGHUP, with everything tidied up; a second Ctrl-C exits at once |
`,
  'docs:options',
)
for (const command of Object.values(commands)) {
  await page(`cli/${command.name}.md`, commandPage(command), 'docs:options')
}
