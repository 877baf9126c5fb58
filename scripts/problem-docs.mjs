#!/usr/bin/env node
/**
 * Writes docs/reference/problems.md from the tables of the server's codes; with --check only says whether it is up
 * to date. Needs dist/ and packages/server/dist/.
 */
import { built, builtServer, page, table } from './generated.mjs'

const { errorCodes } = built('error-codes.js')
const { MagicMixError } = built('errors.js')
const { problemCodes } = builtServer('problem-codes.js')
const { mixCodes } = builtServer('mix-codes.js')
const { bug, problemOf } = builtServer('problem.js')

const urn = (code) => `urn:magicmix:${code.toLowerCase().replaceAll('_', '-')}`
const retries = (seconds) => (seconds === undefined ? '' : `, \`Retry-After: ${seconds}\``)

const problemSection = ([
  code,
  { status, retryAfter, cause, example, remedy, operator },
]) => `### ${code}

**${status}**${retries(retryAfter)}, \`${urn(code)}\`

${cause}

\`\`\`text
${example}
\`\`\`

${remedy}
${operator === undefined ? '' : `\n**For whoever runs the server:** ${operator}\n`}`

const link = (code, page = '') => `[\`${code}\`](${page}#${code.toLowerCase()})`

/** How the server answers an error of magicmix, as cells of a row. */
function answerTo(code) {
  const { example } = errorCodes[code]
  const { status, message, headers } = problemOf(new MagicMixError(code, example, {})) ?? bug()
  const { named } = mixCodes[code]
  return [
    named === undefined ? `${status}` : `${status}; ${named} if the request names it`,
    headers['retry-after'] ?? '',
    message === example ? "the error's own message" : `\`${message.replace(code, 'CODE')}\``,
  ]
}

/** A row for all codes that are answered alike. */
function mixRows() {
  const rows = new Map()
  for (const code of Object.keys(mixCodes)) {
    const cells = answerTo(code)
    const key = cells.join('\n')
    rows.set(key, { cells, codes: [...(rows.get(key)?.codes ?? []), link(code, 'errors.md')] })
  }
  return [...rows.values()].map(({ cells, codes }) => [...cells, codes.join(', ')])
}

const refused = new MagicMixError('INVALID_ARGUMENT', errorCodes.INVALID_ARGUMENT.example, {
  ...{ name: 'nu', expected: 'a number between 0 and 1', received: 1.5 },
})

await page(
  'problems.md',
  `# Errors of the server

Made by \`npm run docs:errors\` from the tables that the codes are declared in; a test makes the answers.

[The server](../../packages/server/README.md) answers with \`application/problem+json\` (RFC 9457) where something is wrong:

\`\`\`json
${JSON.stringify(problemOf(refused), null, 2)}
\`\`\`

- \`code\` is for programs, and stable: one of the server's own, or one of [magicmix](errors.md).
- \`type\` is \`urn:magicmix:\` and the code in lower case, with hyphens. It is a name, not an address to open.
- \`status\` is the HTTP status once more, and \`title\` its usual name.
- \`detail\` is for people. Its wording may change: do not compare it.
- \`details\` has the values at fault, if there are any; for codes of magicmix the same ones as \`error.details\`.
- The header \`Retry-After\` says in how many seconds to try again, where waiting helps.

A job that fails is not an HTTP error: \`GET /v1/mixes/{id}\` answers with 200, and the \`error\` of the job has the same \`code\` and
\`details\`, and \`message\` in place of \`detail\`. Clients of OpenAI and of AUTOMATIC1111's web UI get these codes in
[the form that they know](../../packages/server/docs/apis.md). They wait for the picture, so a job that fails is answered with the
status below; OpenAI's clients get 400 instead of 422.

Names such as \`bodyBytes\` and \`hosts\` are settings of the server, with their defaults in [its config file](../../packages/server/README.md#config-file).

A client that waits and tries again where that helps:

\`\`\`ts
import { setTimeout } from 'node:timers/promises'
import { MagicMix } from 'magicmix'
import { type ProblemJson, createServer } from 'magicmix-server'

async function send(url: string, body: object): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (answer.ok) return answer
    const wait = answer.headers.get('retry-after')
    if (wait === null || tries === 5) {
      const { code, detail } = (await answer.json()) as ProblemJson
      throw new Error(\`\${code}: \${detail}\`)
    }
    await setTimeout(Number(wait) * 1000)
  }
}

const server = await createServer({ mixer: await MagicMix.load() })
const address = await server.listen()
try {
  await send(\`\${address}/v1/mixes\`, { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger', nu: 1.5 })
} catch (error) {
  console.log(String(error)) // Error: INVALID_ARGUMENT: Expected a number between 0 and 1 for nu but received 1.5
}
await server.close()
\`\`\`

## Codes of the server

${table(
  ['code', 'status', 'Retry-After'],
  Object.entries(problemCodes).map(([code, { status, retryAfter }]) => [
    link(code),
    `${status}`,
    `${retryAfter ?? ''}`,
  ]),
)}

${Object.entries(problemCodes).map(problemSection).join('\n')}

## Codes of magicmix

What is wrong with a request is answered with the message of magicmix. What is wrong with a model or with the machine is for whoever
runs the server: clients get the code, and the log has the message, with its paths and devices.

${table(['status', 'Retry-After', 'detail', 'codes'], mixRows())}

\`QUEUE_FULL\` of the server's own queue (\`limits.queue\`) has a \`Retry-After\` that grows with the number of jobs that wait.
`,
  'docs:errors',
)
