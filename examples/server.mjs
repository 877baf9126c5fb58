// Mixes over HTTP, with progress as server-sent events:
//
//     PORT=8080 node examples/server.mjs
//     curl -N 'http://localhost:8080/mix?layout=a+photo+of+a+pear&content=a+photo+of+a+lemon'
//
// A mix is one response: `progress` events, then `mix` with the picture as a data URL, or `failed` with
// a code. One model serves everybody, one mix after the other; who hangs up leaves the queue.
import { createServer } from 'node:http'

import { MagicMix, MagicMixError } from 'magicmix'

const mixer = await MagicMix.load({ model: process.env.MAGICMIX_MODEL || undefined })

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  if (url.pathname !== '/mix') {
    response.writeHead(404).end('Try /mix?layout=...&content=...\n')
    return
  }
  void serveMix(url.searchParams, response)
})

async function serveMix(parameters, response) {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const send = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)

  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  try {
    const mix = await mixer.mix({
      layout: { prompt: parameters.get('layout') ?? '' },
      content: parameters.get('content') ?? '',
      steps: Number(parameters.get('steps') ?? 25),
      seed: Number(parameters.get('seed') ?? 0),
      signal: gone.signal,
      onProgress: ({ stage, step, steps, etaMs }) =>
        send('progress', { stage, step, steps, etaMs }),
    })
    const png = await mix.toBuffer('png')
    send('mix', { url: `data:image/png;base64,${png.toString('base64')}`, seed: mix.request.seed })
  } catch (error) {
    if (gone.signal.aborted) {
      console.log('a client has gone; its mix was cancelled')
      return
    }
    // A message of ours is for the client; of anything else it should not know.
    const known = error instanceof MagicMixError
    if (!known) console.error(error)
    send('failed', known ? { code: error.code, message: error.message } : { code: 'INTERNAL' })
  }
  response.end()
}

server.listen(Number(process.env.PORT ?? 8080), () => {
  console.log(`listening on ${server.address().port}`)
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close()
    server.closeAllConnections()
    void mixer.dispose()
  })
}
