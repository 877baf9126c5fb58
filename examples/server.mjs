// Mixes over HTTP, with the package magicmix-server: PORT=8080 node examples/server.mjs
import { MagicMix } from 'magicmix'
import { createServer } from 'magicmix-server'

const mixer = await MagicMix.load({ model: process.env.MAGICMIX_MODEL || undefined })
const server = await createServer({ mixer })
console.log(`listening on ${await server.listen({ port: Number(process.env.PORT ?? 8080) })}`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => void server.drain().then(() => mixer.dispose()))
}
