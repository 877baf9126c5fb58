/** Everything that needs the packages for Redis. */
export { oncePerOutage } from './connection.js'
export { RedisPlace } from './place.js'
export { RedisJobs } from './redis-jobs.js'
export { RedisWorker } from './redis-worker.js'
export { RemoteModels } from './remote-models.js'
