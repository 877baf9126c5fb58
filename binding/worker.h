#pragma once

#include "engine/engine.h"

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace magicmix::binding {

/// Makes the JavaScript value of a result; runs on the main thread.
using Result = std::function<Napi::Value(Napi::Env)>;

/// The work of a job, on the worker's thread. It may throw.
using Task = std::function<Result(const Cancellation &cancel, const ProgressCallback &progress)>;

/// A thread of our own with a queue: jobs run one after the other, first come, first served, and
/// never take a thread of libuv's pool. Every method is for the main thread (the one of the
/// JavaScript environment). The environment stays alive while jobs wait or run, and not for longer;
/// if it ends all the same, or the process exits, jobs are cancelled and the thread is joined
/// first.
class Worker : public std::enable_shared_from_this<Worker> {
public:
    static std::shared_ptr<Worker> start(Napi::Env env);
    ~Worker();
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;

    struct Options {
        Napi::Value onProgress; ///< a function, null, undefined or empty
        Napi::Object keepAlive; ///< not collected before the job has ended; may be empty
        std::function<void(bool)> afterwards; ///< called when the job has settled, with its success
    };
    /// Puts a job in the queue. Gives `{ done, cancel }` as ts/native/contract.ts has it: `done`
    /// rejects with what `onProgress` threw, and always after `cancel`, however far the job has
    /// come. After `shutdown` it is one that has rejected.
    Napi::Object submit(Napi::Env env, Task task, Options options);

    /// The result of `submit` for a job that is not even queued: it has rejected with DISPOSED.
    static Napi::Object refuse(Napi::Env env);

    /// Cancels every job, as `cancel` does, but they reject with DISPOSED.
    void disposeAll(Napi::Env env);

    /// Cancels every job without settling it, and joins the thread. May be called again.
    void shutdown() noexcept;

private:
    struct Job;
    enum class Outcome { Progress, Ended };
    struct Message {
        std::shared_ptr<Job> job;
        Outcome outcome;
    };

    explicit Worker(Napi::Env env);

    // on the worker's thread
    void run() noexcept;
    void perform(const std::shared_ptr<Job> &job) noexcept;
    void progressed(const std::shared_ptr<Job> &job, const Progress &event);
    void post(Message message) noexcept;
    bool callMainThread() noexcept;

    // on the main thread
    static void wakeUp(napi_env env, napi_value, void *worker, void *);
    void cancel(Napi::Env env, const std::shared_ptr<Job> &job);
    void receive(Napi::Env env);
    bool reportProgress(Napi::Env env, const std::shared_ptr<Job> &job);
    void reportInNextTurn(Napi::Env env, const std::shared_ptr<Job> &job);
    void settle(Napi::Env env, const std::shared_ptr<Job> &job);
    void resolveOrReject(Napi::Env env, Job &job);
    void release(Napi::Env env, const std::shared_ptr<Job> &job);

    napi_env env_;
    napi_threadsafe_function wake_ = nullptr; ///< makes the main thread call `receive`
    std::vector<std::shared_ptr<Job>> jobs_;  ///< all that have not settled; main thread only
    bool shutDown_ = false;                   ///< main thread only

    std::mutex mutex_; ///< guards what follows
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Job>> queue_;
    std::vector<Message> messages_; ///< one for every time that `wake_` was called
    bool stopping_ = false;

    std::thread thread_;
};

} // namespace magicmix::binding
