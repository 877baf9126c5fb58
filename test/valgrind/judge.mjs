// Reads valgrind's report and keeps what has a frame of the addon in its stack.
import { readFileSync } from 'node:fs'

const report = readFileSync(process.argv[2], 'utf8')
if (!report.trimEnd().endsWith('</valgrindoutput>')) throw new Error('the report is not complete')

const errors = [...report.matchAll(/<error>.*?<\/error>/gs)].map(([xml]) => ({
  kind: textOf(xml, 'kind'),
  what: textOf(xml, 'what') ?? textOf(xml, 'text'),
  frames: [...xml.matchAll(/<frame>.*?<\/frame>/gs)].map(([frame]) => ({
    object: textOf(frame, 'obj') ?? '',
    place: `${textOf(frame, 'fn') ?? '?'} (${textOf(frame, 'file') ?? '?'}:${textOf(frame, 'line') ?? '?'})`,
  })),
}))
const ours = errors.filter(({ frames }) =>
  frames.some(({ object }) => /magicmix(-vulkan\.so|\.node)$/.test(object)),
)

for (const { kind, what, frames } of ours) {
  console.log(`${kind}: ${what}`)
  for (const { place } of frames) console.log(`    ${place}`)
}
console.log(
  `valgrind: ${ours.length} errors and leaks in magicmix, ` +
    `${errors.length - ours.length} of Node alone not counted`,
)
process.exitCode = ours.length === 0 ? 0 : 1

function textOf(xml, tag) {
  const text = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(xml)?.[1]
  return text?.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}
