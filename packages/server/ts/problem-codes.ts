/**
 * Every code of the server's own: its status, how it comes about, a `detail` as it is sent, and what to do. From this table come the
 * statuses of the answers, docs/reference/problems.md and the codes in /openapi.json; test/problem-codes.test.ts makes the examples.
 */
import type { ServerCode } from './problem.js'

/** A code of the server's own, for people. */
export interface ProblemHelp {
  /** The HTTP status. */
  readonly status: number
  /** Seconds, for the header of that name, where nothing better is known. */
  readonly retryAfter?: number
  /** How it comes about. */
  readonly cause: string
  /** A `detail`. */
  readonly example: string
  /** What a client can do about it. */
  readonly remedy: string
  /** What whoever runs the server can do about it. */
  readonly operator?: string
}

export const problemCodes: Readonly<Record<ServerCode, ProblemHelp>> = {
  BAD_REQUEST: {
    status: 400,
    cause:
      'The request cannot be read: it has no body, the JSON or the form is damaged or ends early, the address is malformed, or it is not HTTP at all.',
    example: "Body is not valid JSON but content-type is set to 'application/json'",
    remedy:
      'Send the options as one JSON object, or as a form (`multipart/form-data`) whose boundary the HTTP library writes into `Content-Type`. A body that can be read, but has a wrong value, is 422 `INVALID_ARGUMENT`.',
  },
  UNAUTHORIZED: {
    status: 401,
    cause: 'The server has a token, and the request shows none or another one.',
    example: 'This server wants its token: Authorization: Bearer TOKEN',
    remedy:
      'Send `Authorization: Bearer TOKEN`. Clients that only know HTTP Basic send the token as the password, with any name.',
    operator:
      'The token is that of `MAGICMIX_TOKEN`, `--token`, or `token` in the config file. `/health/live`, `/health/ready` and the files of the studio need none. Wrong guesses count as requests for `ratePerMinute`.',
  },
  FORBIDDEN_ORIGIN: {
    status: 403,
    cause:
      'The `Host` of the request is a name that the server does not know, or the request comes from a web page of another origin.',
    example: "This server does not answer as 'mixes.example.org'; see the option hosts",
    remedy:
      "Use the server's address, `localhost` or the machine's own name. A web page of another origin cannot call the server itself: let your own server call it.",
    operator:
      'List in `hosts` the names that clients use, such as that of a proxy. To call the server from a page of yours, let one proxy serve both under one origin.',
  },
  NOT_FOUND: {
    status: 404,
    cause:
      'There is no such route, or not for this method; or no mix or sweep with this id; or a finished sweep has no such cell.',
    example: 'There is no mix of that id here',
    remedy:
      'Take addresses from `Location` or from the `links` of a job. `/openapi.json` has all routes and methods.',
    operator:
      'Without Redis, jobs are in the memory of the process: another process, or the same one after a restart, does not know them.',
  },
  NOT_ACCEPTABLE: {
    status: 406,
    cause: '`Accept` names no format that pictures are sent in.',
    example: 'Pictures are there as image/png, image/webp, image/jpeg',
    remedy: 'Ask for one of these formats, or leave `Accept` out: the picture is then a PNG.',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    cause:
      'The request did not arrive within `requestSeconds`; its head has at most 20 seconds. The connection is closed.',
    example: 'The request took too long to arrive',
    remedy:
      'Send it again. On a slow connection send smaller pictures, as JPEG or WebP and as parts of a form.',
    operator:
      'Raise `limits.requestSeconds`, or put a proxy in front that reads a request to its end before it passes it on.',
  },
  CONFLICT: {
    status: 409,
    cause:
      'The state of the job does not allow this: there is no picture yet, or never will be because it failed or was cancelled; or it is to be cancelled and has ended already.',
    example: 'This mix is running: it has no picture',
    remedy:
      "`details.status` is its state. Wait for the event `end` of `links.events`, or ask for the job until its `status` is `completed`. Of one that `failed`, the job's `error` says why.",
  },
  GONE: {
    status: 410,
    cause:
      'The job was deleted or has expired: it ended more than `keptSeconds` ago, there are newer ones than `keptJobs` or `keptBytes` allow, or it waited in Redis for longer than `waitSeconds`.',
    example: 'This mix has expired, or was deleted',
    remedy:
      'Fetch pictures soon after the end; `expiresAt` of a job is the latest time. The same request with the same `seed` makes the same picture again.',
    operator: 'Raise `limits.keptSeconds`, `limits.keptJobs` or `limits.keptBytes`.',
  },
  TOO_LARGE: {
    status: 413,
    cause:
      'The body has more than `bodyBytes`, or a form more than 32 files, 64 fields or 96 parts. As the `error` of a job: a worker made a picture of more than `blobBytes`.',
    example: 'At most 25165824 bytes are taken',
    remedy:
      'Make the pictures smaller: they are scaled to the size of the mix anyway. Send them as JPEG or WebP, and as parts of a form, since base64 takes a third more. `GET /v1/capabilities` has the limits.',
    operator: 'Raise `limits.bodyBytes`; with workers, `redis.blobBytes` for what they make.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    cause:
      'The `Content-Type` is missing or is neither of the two that are taken, or the body is compressed (`Content-Encoding`).',
    example: 'Send application/json or multipart/form-data',
    remedy:
      'Send JSON with `Content-Type: application/json`, or a form; neither of them compressed. A picture alone is no body: it is the part `layout` of a form.',
  },
  RATE_LIMITED: {
    status: 429,
    retryAfter: 5,
    cause:
      'An address has sent more than `ratePerMinute` requests in a minute; or more event streams are open than `streams` allows; or more bytes are being sent at the same time than `queueBytes` allows.',
    example: 'At most 600 requests per minute are answered',
    remedy:
      "Wait for as long as `Retry-After` says. Follow a job by its events instead of asking for its state again and again, and close the streams that are not read. A full queue is another code, magicmix's own `QUEUE_FULL`.",
    operator:
      'Behind a proxy set `behindProxy`, or all clients count as one. Raise `limits.ratePerMinute`, `limits.streams` or `limits.queueBytes`.',
  },
  DRAINING: {
    status: 503,
    retryAfter: 10,
    cause:
      'The server is being stopped (SIGTERM, or `drain()`): what runs is finished, and nothing new is taken. As the `error` of a job: it was still waiting, and was not begun.',
    example: 'The server is shutting down',
    remedy:
      'Send the request again, to another server or after `Retry-After`. A job that ended like this has to be sent again, too.',
    operator:
      'Let the balancer ask for `/health/ready`, which is 503 from then on. With Redis, jobs go on without this server, and none is refused.',
  },
  NO_WORKER: {
    status: 503,
    retryAfter: 10,
    cause:
      'With Redis: no worker has come with a model yet, and the config file names none; or `POST /v1/tokenize` needs a model that no worker has now. A mix for a model that is known waits for its worker instead.',
    example: 'No worker has come with a model yet; try again later',
    remedy: 'Wait for as long as `Retry-After` says, and send it again.',
    operator:
      'Start `magicmix worker` with the same `--redis` and the same `redis.prefix`: `GET /v1/workers` lists those that have come. With `models` in the config file of the server, requests wait from the beginning.',
  },
  WORKER_LOST: {
    status: 500,
    cause:
      'With Redis: the workers that had the job died or fell silent, as often as `redis.attempts` says. A job often takes its workers with it because it needs more memory than they have.',
    example: 'Its workers ended in the middle of it, 3 times',
    remedy:
      'This is the `error` of a job that `failed`; its own state is answered with 200. Try a smaller size. If small mixes fail like this as well, tell whoever runs the server.',
    operator:
      "Look at the worker's log and the system's: did it run out of memory, or did a driver crash? Bound `limits.mixPixels`, load with `isolate: true`, or give the worker more memory. Raise `redis.lockSeconds` if workers are stopped for longer than that and then go on.",
  },
  QUEUE_UNAVAILABLE: {
    status: 503,
    retryAfter: 5,
    cause:
      'Redis does not answer, or takes nothing now: it is starting, out of memory, or a replica.',
    example: 'The queue does not answer now; try again later',
    remedy:
      'Wait for as long as `Retry-After` says, and send it again with the same `Idempotency-Key`: the request may have been taken even so. Event streams stay open, and go on when Redis is back.',
    operator:
      'Look after Redis: whether it runs and can be reached at `redis.url`, and whether `maxmemory` suffices. Workers go on mixing, and report when it is back.',
  },
}
