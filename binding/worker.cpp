#include "worker.h"

#include "environment.h"
#include "errors.h"
#include "values.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace magicmix::binding {

struct Worker::Job {
    Job(Napi::Env env, Task work)
        : task(std::move(work)), deferred(env),
          outOfMemory("OUT_OF_MEMORY", "the system refused an allocation") {}

    Cancellation cancellation;
    Task task;
    bool reportsProgress = false;

    // The main thread's own.
    Napi::Promise::Deferred deferred;
    Napi::FunctionReference onProgress;
    Napi::ObjectReference keepAlive;
    std::function<void(bool)> afterwards;
    std::optional<Napi::Error> thrown; ///< by onProgress
    bool disposed = false;             ///< cancelled, and because of `dispose`
    bool succeeded = false;

    // Written by the worker before it posts `Ended`, read by the main thread after.
    Result result;
    std::optional<Error> error;
    Error outOfMemory; ///< made while there is memory

    // Guarded by the worker's mutex.
    std::deque<Progress> events; ///< of every stage the latest that has not been delivered
    bool delivering = false;     ///< a message for them is on its way, or onProgress runs

    void dropReferences() {
        onProgress.Reset();
        keepAlive.Reset();
        thrown.reset();
    }
};

namespace {

void throwIfFailed(napi_status status, const char *what) {
    if (status != napi_ok) throw Error("INTERNAL", std::string("Node-API failed to ") + what);
}

constexpr std::chrono::milliseconds kUntilNextCall(10);

// For every job, its progress and its end.
constexpr std::size_t kMessagesOfJob = 2;

Error disposed() { return Error("DISPOSED", "the mixer was disposed of"); }

/// glibc keeps what a thread has freed for threads to come: hundreds of MB after some models. Other
/// C libraries give it back by themselves.
void giveMemoryBack() noexcept {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

/// Called when the environment ends before the worker does.
void leave(void *worker) { static_cast<Worker *>(worker)->shutdown(); }

} // namespace

std::shared_ptr<Worker> Worker::start(Napi::Env env) {
    const std::shared_ptr<Worker> worker(new Worker(env));

    throwIfFailed(napi_create_threadsafe_function(
                      env, nullptr, nullptr, Napi::String::New(env, "magicmix"), 0, 1, nullptr,
                      nullptr, worker.get(), &Worker::wakeUp, &worker->wake_),
                  "make a thread-safe function");
    // An idle model does not keep the process.
    napi_unref_threadsafe_function(env, worker->wake_);

    // Hooks run last in, first out: registered after the thread-safe function's own, ours comes
    // first, and the thread is gone before what it wakes is.
    throwIfFailed(napi_add_env_cleanup_hook(env, leave, worker.get()), "add a cleanup hook");

    Environment::of(env).add(*worker);
    try {
        worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
    } catch (const std::system_error &error) {
        worker->shutdown();
        throw Error("OUT_OF_THREADS",
                    std::string("the system gives this process no more threads (") + error.what() +
                        "); a mixer needs at least one: raise `ulimit -u`, the container's "
                        "--pids-limit or the unit's TasksMax");
    }
    return worker;
}

Worker::Worker(Napi::Env env) : env_(env) {}

Worker::~Worker() { shutdown(); }

void Worker::shutdown() noexcept {
    if (shutDown_) return;
    shutDown_ = true;
    const auto self = weak_from_this().lock(); // a job can be the last to hold its worker
    for (const auto &job : jobs_) job->cancellation.request();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();

    // From here on this is the only thread that knows the worker.
    queue_.clear();
    messages_.clear();
    for (const auto &job : jobs_) job->dropReferences();
    jobs_.clear();
    Environment::of(env_).remove(*this);
    napi_remove_env_cleanup_hook(env_, leave, this);
    if (wake_ != nullptr) napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

// ---------------------------------------------------------------------------------------------
// On the worker's thread

void Worker::run() noexcept {
    for (;;) {
        std::shared_ptr<Job> job;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (stopping_) break;
            job = std::move(queue_.front());
            queue_.pop_front();
        }
        perform(job);
        post({std::move(job), Outcome::Ended});
    }
    giveMemoryBack();
}

void Worker::perform(const std::shared_ptr<Job> &job) noexcept {
    try {
        job->cancellation.throwIfRequested();
        job->result =
            job->task(job->cancellation, [&](const Progress &event) { progressed(job, event); });
    } catch (...) {
        try {
            job->error = currentError();
        } catch (...) {
            job->error.emplace(std::move(job->outOfMemory));
        }
    }
    job->task = nullptr; // what it captured is freed here, not on the main thread
}

/// Keeps the latest event of a stage only, and one message at most: a busy main thread gets no
/// backlog, and still sees how every stage ended.
void Worker::progressed(const std::shared_ptr<Job> &job, const Progress &event) {
    if (!job->reportsProgress) return;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (job->events.empty() || job->events.back().stage != event.stage) {
            job->events.push_back(event);
        } else {
            // A preview that nobody has seen yet is worth more than none.
            const auto preview = job->events.back().preview;
            job->events.back() = event;
            if (!event.preview) job->events.back().preview = preview;
        }
        if (std::exchange(job->delivering, true)) return;
    }
    post({job, Outcome::Progress});
}

/// Nobody could catch what this throws: it does not allocate, and lets Node try again.
void Worker::post(Message message) noexcept {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (stopping_) return;
        messages_.push_back(std::move(message)); // there is room: see `submit`
    }
    while (!callMainThread()) std::this_thread::sleep_for(kUntilNextCall);
}

bool Worker::callMainThread() noexcept {
    try {
        const napi_status status =
            napi_call_threadsafe_function(wake_, this, napi_tsfn_nonblocking);
        return status == napi_ok || status == napi_closing;
    } catch (const std::bad_alloc &) { // of Node's own queue
        return false;
    }
}

// ---------------------------------------------------------------------------------------------
// On the main thread

Napi::Object Worker::submit(Napi::Env env, Task task, Options options) {
    if (shutDown_) return refuse(env);
    const auto job = std::make_shared<Job>(env, std::move(task));
    const Napi::Value &onProgress = options.onProgress;
    if (!onProgress.IsEmpty() && !onProgress.IsNull() && !onProgress.IsUndefined()) {
        if (!onProgress.IsFunction()) {
            throw Error("INVALID_ARGUMENT", "onProgress must be a function or null",
                        {{"name", std::string("onProgress")}});
        }
        job->reportsProgress = true;
        job->onProgress = Napi::Persistent(onProgress.As<Napi::Function>());
    }
    if (!options.keepAlive.IsEmpty()) job->keepAlive = Napi::Persistent(options.keepAlive);
    job->afterwards = std::move(options.afterwards);

    if (jobs_.empty()) napi_ref_threadsafe_function(env, wake_);
    jobs_.push_back(job);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        queue_.push_back(job);
        messages_.reserve(kMessagesOfJob * jobs_.size());
    }
    changed_.notify_one();

    Napi::Object handle = Napi::Object::New(env);
    handle.Set("done", job->deferred.Promise());
    const auto stop = [weak = weak_from_this(), job](const Napi::CallbackInfo &info) {
        if (const auto worker = weak.lock()) worker->cancel(info.Env(), job);
    };
    handle.Set("cancel", Napi::Function::New(env, stop, "cancel"));
    return handle;
}

Napi::Object Worker::refuse(Napi::Env env) {
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(toJs(env, disposed()).Value());
    Napi::Object handle = Napi::Object::New(env);
    handle.Set("done", deferred.Promise());
    const auto nothing = [](const Napi::CallbackInfo &) {};
    handle.Set("cancel", Napi::Function::New(env, nothing, "cancel"));
    return handle;
}

void Worker::disposeAll(Napi::Env env) {
    const auto all = jobs_; // cancelling takes jobs out of the list
    for (const auto &job : all) {
        if (!job->cancellation.requested()) job->disposed = true;
        cancel(env, job);
    }
}

void Worker::cancel(Napi::Env env, const std::shared_ptr<Job> &job) {
    if (shutDown_ || job->cancellation.requested()) return;
    job->cancellation.request();

    // A job that has not begun ends at once; one that runs has to unwind first.
    bool waiting = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto place = std::find(queue_.begin(), queue_.end(), job);
        waiting = place != queue_.end();
        if (waiting) queue_.erase(place);
    }
    if (waiting) {
        job->task = nullptr;
        settle(env, job);
    }
}

void Worker::wakeUp(napi_env env, napi_value, void *worker, void *) {
    // Without an environment there is nobody to tell, and perhaps no worker any more.
    if (env == nullptr) return;
    const Napi::HandleScope scope(env);
    try {
        static_cast<Worker *>(worker)->receive(env);
    } catch (const Napi::Error &) {
        // Not even a rejection could be made: the environment is being terminated, and the cleanup
        // hook does the rest.
    }
}

/// One message a call. A loop here would never end while onProgress takes longer than a step.
void Worker::receive(Napi::Env env) {
    const auto self = shared_from_this(); // the last job may give the worker up
    if (shutDown_) return;
    Message message;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (messages_.empty()) return;
        message = std::move(messages_.front());
        messages_.erase(messages_.begin());
    }
    if (message.outcome == Outcome::Ended) {
        settle(env, message.job);
        return;
    }
    reportProgress(env, message.job);
    reportInNextTurn(env, message.job);
}

/// Passes on the earliest event that has not been; false if there is none.
bool Worker::reportProgress(Napi::Env env, const std::shared_ptr<Job> &job) {
    std::optional<Progress> event;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (job->events.empty()) return false;
        event = std::move(job->events.front());
        job->events.pop_front();
    }
    if (job->cancellation.requested()) return true;
    try {
        orThrow(env, [&] { return job->onProgress.Call({toJs(env, *event)}); });
    } catch (const Napi::Error &error) {
        job->thrown = error;
        job->cancellation.request();
    }
    return true;
}

/// Passes on the next event, if there is one, after the event loop has had its turn. Not through
/// `wake_`: Node would answer at once, again and again, before anything else.
void Worker::reportInNextTurn(Napi::Env env, const std::shared_ptr<Job> &job) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        job->delivering = !job->events.empty();
        if (!job->delivering) return;
    }
    const auto report = [weak = weak_from_this(), job](const Napi::CallbackInfo &info) {
        const auto worker = weak.lock();
        if (!worker || worker->shutDown_) return;
        worker->reportProgress(info.Env(), job);
        worker->reportInNextTurn(info.Env(), job);
    };
    const auto setImmediate = env.Global().Get("setImmediate").As<Napi::Function>();
    setImmediate.Call({Napi::Function::New(env, report)});
}

void Worker::settle(Napi::Env env, const std::shared_ptr<Job> &job) {
    while (reportProgress(env, job)) { // events come before the end
    }
    try {
        orThrow(env, [&] { resolveOrReject(env, *job); });
    } catch (const Napi::Error &error) { // the result could not be made
        job->deferred.Reject(error.Value());
    }
    release(env, job);
}

void Worker::resolveOrReject(Napi::Env env, Job &job) {
    if (job.thrown) {
        job.deferred.Reject(job.thrown->Value());
    } else if (job.error && job.error->code() != Cancelled().code()) {
        job.deferred.Reject(toJs(env, *job.error).Value());
    } else if (job.error || job.cancellation.requested()) {
        const Error error = job.disposed ? disposed() : Cancelled();
        job.deferred.Reject(toJs(env, error).Value());
    } else {
        job.deferred.Resolve(job.result(env));
        job.succeeded = true;
    }
}

void Worker::release(Napi::Env env, const std::shared_ptr<Job> &job) {
    // `cancel` of the handle keeps the job for as long as JavaScript keeps the handle.
    job->task = nullptr;
    job->result = nullptr;
    job->dropReferences();
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
    if (jobs_.empty() && !shutDown_) napi_unref_threadsafe_function(env, wake_);
    if (job->afterwards) std::exchange(job->afterwards, nullptr)(job->succeeded);
}

} // namespace magicmix::binding
