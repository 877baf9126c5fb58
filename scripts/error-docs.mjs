#!/usr/bin/env node
/**
 * Writes docs/reference/errors.md from the table of error codes; with --check only says whether it is up to
 * date. Needs dist/.
 */
import { built, page } from './generated.mjs'

const { errorCodes } = built('error-codes.js')

const section = ([code, { cause, example, remedy }]) => `## ${code}

${cause}

\`\`\`text
${example}
\`\`\`

${remedy}
`

await page(
  'errors.md',
  `# Errors

Made by \`npm run docs:errors\` from the table that the codes are declared in; a test makes the messages.

Every function of magicmix rejects or throws with a \`MagicMixError\`. It has a \`code\` for programs, which is stable; a \`message\`
for people; the values at fault in \`details\`, whose type follows from the code; and a stack that begins at your line. \`toJSON()\`
and \`MagicMixError.fromJSON(json)\` carry it over threads and processes. Two kinds of errors arrive unchanged: the reason of a
\`signal\`, and what your own callback threw.

\`\`\`ts
import { MagicMix, MagicMixError } from 'magicmix'

await using mixer = await MagicMix.load()
try {
  await mixer.mix({ layout: { prompt: 'a photo of a heart' }, content: 'a very '.repeat(40) })
} catch (error) {
  if (!(error instanceof MagicMixError && error.code === 'PROMPT_TOO_LONG')) throw error
  console.log(\`\${error.details.tokens} tokens, \${error.details.maxTokens} fit\`)
}
\`\`\`

On the command line the message goes to standard error with the code behind it, \`--json\` prints the error as JSON, and
\`--verbose\` its stack. [The server](../../packages/server/README.md) answers with problems (RFC 9457) of the same codes
and some of its own: [errors of the server](problems.md) has these, and the HTTP status of every code.

${Object.entries(errorCodes).map(section).join('\n')}`,
  'docs:errors',
)
