/**
 * What happens to a job in Redis, each in one piece: Redis runs a script to its end before it answers anybody else.
 *
 * Keys, all with the prefix:
 *   job:ID      hash: what clients see, and beside that `attempt`, who works on it; `seq`, of its latest event
 *   input:ID    hash: the order, until the job is finished
 *   events:ID   stream: events with their ids; of previews only the latest
 *   blobs:ID    hash: pictures
 *   known:ID    remembers ids that are gone
 *   once:KEY    hash: the job of an Idempotency-Key
 *   waiting:LANE zset, running:LANE set, lanes set; open zset (by when they were last heard of); kept zset (by their end)
 *   waitingBytes, keptBytes  hashes: bytes by id
 * Channels: news:ID (its events), cancel (ids), ended (ids).
 */
import { createHash } from 'node:crypto'

import type { Redis } from 'ioredis'

/** Events of a job that are kept. */
const mostEvents = 1000

const library = `
local P = KEYS[1]
local call = redis.call
local function key(kind, id) return P .. ':' .. kind .. ':' .. id end

local function sum(hash)
  local all = 0
  for _, each in ipairs(call('HVALS', hash)) do all = all + tonumber(each) end
  return all
end

local function tell(id, event, data)
  local job, log = key('job', id), key('events', id)
  local n = call('HINCRBY', job, 'seq', 1)
  if event == 'preview' then
    local before = call('HGET', job, 'preview')
    if before then call('XDEL', log, before .. '-0') end
    call('HSET', job, 'preview', n)
  end
  call('XADD', log, 'MAXLEN', '~', ${mostEvents}, n .. '-0', 'event', event, 'data', data)
  local left = call('PTTL', job)
  if left > 0 then call('PEXPIRE', log, left) end
  call('PUBLISH', key('news', id), n)
end

local function tellPlaces(lane)
  for place, id in ipairs(call('ZRANGE', key('waiting', lane), 0, -1)) do
    if call('EXISTS', key('job', id)) == 1 then
      tell(id, 'progress', '{"stage":"queued","position":' .. place .. '}')
    end
  end
end

local function unlist(id, lane)
  local waited = call('ZREM', key('waiting', lane), id)
  call('SREM', key('running', lane), id)
  call('ZREM', P .. ':open', id)
  call('HDEL', P .. ':waitingBytes', id)
  return waited == 1
end

local function forget(id)
  local job = key('job', id)
  local lane = call('HGET', job, 'lane')
  local once = call('HGET', job, 'once')
  if lane and unlist(id, lane) then tellPlaces(lane) end
  if once and once ~= '' and call('HGET', key('once', once), 'id') == id then call('DEL', key('once', once)) end
  call('ZREM', P .. ':open', id)
  call('ZREM', P .. ':kept', id)
  call('HDEL', P .. ':keptBytes', id)
  call('HDEL', P .. ':waitingBytes', id)
  call('DEL', job, key('input', id), key('events', id), key('blobs', id))
  call('PUBLISH', key('news', id), 0)
end

local function tidy(now, mostJobs, mostBytes)
  local kept = P .. ':kept'
  for _, id in ipairs(call('ZRANGEBYSCORE', kept, '-inf', now)) do forget(id) end
  local many = call('ZCARD', kept)
  local bytes = sum(P .. ':keptBytes')
  while many > 0 and (many > mostJobs or bytes > mostBytes) do
    local id = call('ZRANGE', kept, 0, 0)[1]
    bytes = bytes - tonumber(call('HGET', P .. ':keptBytes', id) or 0)
    forget(id)
    many = many - 1
  end
end

-- end: status, error, finishedAt, expiresAt in ISO 8601, then both in milliseconds, keptJobs, keptBytes
local function finish(id, e)
  local job = key('job', id)
  local lane = call('HGET', job, 'lane')
  call('HSET', job, 'status', e[1], 'error', e[2], 'finishedAt', e[3], 'expiresAt', e[4], 'attempt', '')
  call('DEL', key('input', id))
  local bytes = 0
  for _, name in ipairs(call('HKEYS', key('blobs', id))) do
    bytes = bytes + call('HSTRLEN', key('blobs', id), name)
  end
  local now, expires = tonumber(e[5]), tonumber(e[6])
  call('ZADD', P .. ':kept', expires, id)
  call('HSET', P .. ':keptBytes', id, bytes)
  -- A little longer than until somebody tidies; known for a day more.
  local left = math.max(expires - now, 1) + 60000
  call('PEXPIRE', job, left)
  call('PEXPIRE', key('blobs', id), left)
  local once = call('HGET', job, 'once')
  if once and once ~= '' then call('PEXPIRE', key('once', once), left) end
  call('SET', key('known', id), 1, 'PX', left + 86400000)
  local errorText = e[2] == '' and 'null' or e[2]
  tell(id, 'end', '{"status":"' .. e[1] .. '","error":' .. errorText .. '}')
  call('PEXPIRE', key('events', id), left)
  if unlist(id, lane) then tellPlaces(lane) end
  call('PUBLISH', P .. ':ended', id)
  tidy(now, tonumber(e[7]), tonumber(e[8]))
end

local function isFinished(status) return status ~= 'queued' and status ~= 'running' end

-- Whether whoever works as 'attempt' still does.
local function standing(id, attempt)
  local job = call('HMGET', key('job', id), 'attempt', 'cancel', 'status')
  if job[3] ~= 'running' or job[1] ~= attempt then return 'lost' end
  if job[2] == '1' then return 'cancelled' end
  return 'ok'
end
`

const sources = {
  /** id, lane, order's rank, bytes, key, fingerprint, most waiting, most bytes, begins at once, now, ttl; then the job's fields as JSON, then the input. */
  submit: `
local id, lane, once = ARGV[1], ARGV[2], ARGV[5]
if once ~= '' then
  local known = call('HMGET', key('once', once), 'id', 'fingerprint')
  if known[1] and call('EXISTS', key('job', known[1])) == 1 then
    if known[2] ~= ARGV[6] then return { 'other' } end
    return { 'known', known[1] }
  end
end
local waiting = 0
for _, each in ipairs(call('SMEMBERS', P .. ':lanes')) do waiting = waiting + call('ZCARD', key('waiting', each)) end
local bytes = sum(P .. ':waitingBytes') + tonumber(ARGV[4])
local begins = ARGV[9] ~= '0' and call('ZCARD', key('waiting', lane)) == 0
  and call('SCARD', key('running', lane)) < tonumber(ARGV[9])
if not begins and (waiting >= tonumber(ARGV[7]) or bytes > tonumber(ARGV[8])) then return { 'full', waiting } end
local ttl = ARGV[11]
local score = tonumber(ARGV[3]) * 17592186044416 + call('INCR', P .. ':sequence')
local fields = cjson.decode(ARGV[12])
for name, value in pairs(fields) do call('HSET', key('job', id), name, value) end
call('HSET', key('job', id), 'lane', lane, 'rank', ARGV[3], 'score', string.format('%.0f', score), 'seq', 0, 'once', once)
call('PEXPIRE', key('job', id), ttl)
for i = 13, #ARGV, 2 do call('HSET', key('input', id), ARGV[i], ARGV[i + 1]) end
call('PEXPIRE', key('input', id), ttl)
call('SET', key('known', id), 1, 'PX', ttl + 86400000)
if once ~= '' then
  call('HSET', key('once', once), 'id', id, 'fingerprint', ARGV[6])
  call('PEXPIRE', key('once', once), ttl)
end
call('SADD', P .. ':lanes', lane)
call('ZADD', key('waiting', lane), score, id)
call('HSET', P .. ':waitingBytes', id, ARGV[4])
call('ZADD', P .. ':open', ARGV[10], id)
tell(id, 'progress', '{"stage":"queued","position":' .. call('ZRANK', key('waiting', lane), id) + 1 .. '}')
return { 'new', id }`,

  /** id, attempt, worker, startedAt, now, ttl; then what `finish` takes. */
  begin: `
local id = ARGV[1]
local job = call('HMGET', key('job', id), 'status', 'cancel', 'lane')
if not job[1] then return 'gone' end
if isFinished(job[1]) then return 'finished' end
if job[2] == '1' then
  finish(id, { unpack(ARGV, 7) })
  return 'cancelled'
end
local lane = job[3]
call('HSET', key('job', id), 'status', 'running', 'attempt', ARGV[2], 'worker', ARGV[3], 'startedAt', ARGV[4],
  'progress', '', 'result', '')
for _, each in ipairs({ 'job', 'input', 'events', 'known' }) do call('PEXPIRE', key(each, id), ARGV[6]) end
call('DEL', key('blobs', id))
local waited = call('ZREM', key('waiting', lane), id)
call('SADD', key('running', lane), id)
call('HDEL', P .. ':waitingBytes', id)
call('ZADD', P .. ':open', ARGV[5], id)
if waited == 1 then tellPlaces(lane) end
return 'ok'`,

  /** id, attempt, now, ttl, 'event', name, data; or 'blob', name, bytes; or 'result', '', json. */
  report: `
local id = ARGV[1]
local state = standing(id, ARGV[2])
if state == 'lost' then return state end
call('ZADD', P .. ':open', ARGV[3], id)
call('PEXPIRE', key('job', id), ARGV[4])
if ARGV[5] == 'event' then
  if ARGV[6] == 'progress' then call('HSET', key('job', id), 'progress', ARGV[7]) end
  tell(id, ARGV[6], ARGV[7])
elseif ARGV[5] == 'blob' then
  call('HSET', key('blobs', id), ARGV[6], ARGV[7])
  call('PEXPIRE', key('blobs', id), ARGV[4])
else
  call('HSET', key('job', id), 'result', ARGV[7])
end
return state`,

  /** id, attempt ('*' of whoever works on it), then what `finish` takes. */
  finish: `
local id = ARGV[1]
local status = call('HGET', key('job', id), 'status')
if not status or isFinished(status) then return 'lost' end
if ARGV[2] ~= '*' and standing(id, ARGV[2]) == 'lost' then return 'lost' end
finish(id, { unpack(ARGV, 3) })
return 'ok'`,

  /** Back to where it waits. id, attempt, now */
  requeue: `
local id = ARGV[1]
local state = standing(id, ARGV[2])
if state ~= 'ok' then return state end
local job = call('HMGET', key('job', id), 'lane', 'score')
call('HSET', key('job', id), 'status', 'queued', 'attempt', '', 'startedAt', '', 'progress', '', 'result', '')
call('DEL', key('blobs', id))
call('SREM', key('running', job[1]), id)
call('ZADD', key('waiting', job[1]), job[2], id)
call('ZADD', P .. ':open', ARGV[3], id)
tellPlaces(job[1])
return 'ok'`,

  /** id, then what `finish` takes. */
  cancel: `
local id = ARGV[1]
local status = call('HGET', key('job', id), 'status')
if not status then return 'gone' end
if isFinished(status) then return 'finished' end
if status == 'running' then
  call('HSET', key('job', id), 'cancel', 1)
  call('PUBLISH', P .. ':cancel', id)
  return 'told'
end
finish(id, { unpack(ARGV, 2) })
return 'cancelled'`,

  forget: `
forget(ARGV[1])
return 'ok'`,

  /** now, keptJobs, keptBytes */
  tidy: `
tidy(tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
return 'ok'`,

  counts: `
local queued, running = 0, 0
for _, lane in ipairs(call('SMEMBERS', P .. ':lanes')) do
  queued = queued + call('ZCARD', key('waiting', lane))
  running = running + call('SCARD', key('running', lane))
end
return { queued, running, call('ZCARD', P .. ':kept'), sum(P .. ':keptBytes') }`,
} as const

export type ScriptName = keyof typeof sources

const scripts = Object.fromEntries(
  Object.entries(sources).map(([name, source]) => {
    const text = library + source
    return [name, { text, sha: createHash('sha1').update(text).digest('hex') }]
  }),
) as Record<ScriptName, { text: string; sha: string }>

/** Sends the script's hash, and the script itself where Redis does not know it yet, as after a restart. */
export async function runScript(
  redis: Redis,
  prefix: string,
  name: ScriptName,
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  const { text, sha } = scripts[name]
  try {
    return await redis.evalsha(sha, 1, prefix, ...args)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return redis.eval(text, 1, prefix, ...args)
  }
}
