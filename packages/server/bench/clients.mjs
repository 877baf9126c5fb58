/**
 * Clients of a server, in a process of their own so that they do not take its event loop: forked by `clients` in
 * measure.ts, with one message for what to do and one for what came of it.
 */
import { Agent, request } from 'node:http'
import { performance } from 'node:perf_hooks'

process.once('message', (task) => {
  const run = task.kind === 'rate' ? rate : burst
  void run(task).then((result) => process.send(result, () => process.disconnect()))
})

/** So many connections, each with one request after the other, for so long. */
async function rate({ address, method, path, body, connections, ms }) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const latencies = []
  const end = performance.now() + ms
  const client = async () => {
    while (performance.now() < end) {
      const { took, status } = await send({ agent, address, method, path, body })
      if (status >= 400) throw new Error(`${path}: ${status}`)
      latencies.push(took)
    }
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: connections }, client))
  const seconds = (performance.now() - started) / 1000
  agent.destroy()
  return { perSecond: latencies.length / seconds, latencies }
}

/** So many clients at once, each with a connection and one request of its own. */
async function burst({ address, method, path, body, clients }) {
  const one = async () => {
    const agent = new Agent({ keepAlive: false })
    const { status, headers, text } = await send({ agent, address, method, path, body })
    const { id, position } = JSON.parse(text)
    return { status, retryAfter: headers['retry-after'], id, position: position ?? 0 }
  }
  return Promise.all(Array.from({ length: clients }, one))
}

function send({ agent, address, method, path, body }) {
  const started = performance.now()
  const json = body && JSON.stringify(body)
  const headers = json
    ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) }
    : {}
  return new Promise((resolve, reject) => {
    const sending = request(address + path, { agent, method, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => (text += chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          ...{ status: response.statusCode, headers: response.headers, text },
          took: performance.now() - started,
        }),
      )
    })
    sending.on('error', reject)
    sending.end(json)
  })
}
