#include "worker.h"

#include "values.h"

#include <algorithm>
#include <new>
#include <utility>

namespace magicmix::binding {

struct Worker::Job {
    Job(Napi::Env env, Task work) : task(std::move(work)), deferred(env) {}

    Cancellation cancellation;
    Task task;
    bool reportsProgress = false;

    // The main thread's own.
    Napi::Promise::Deferred deferred;
    Napi::FunctionReference onProgress;
    Napi::ObjectReference keepAlive;
    std::function<void(bool)> afterwards;
    Napi::ObjectReference thrown; ///< `[what onProgress threw]`
    std::string cancelCode = "CANCELLED";

    // Written by the worker before it posts `Ended`, read by the main thread after.
    Result result;
    std::optional<Error> error;

    void dropReferences() {
        onProgress.Reset();
        keepAlive.Reset();
        thrown.Reset();
    }

    // Guarded by the worker's mutex: the latest event that has not been delivered.
    std::optional<Progress> event;
};

namespace {

void throwIfFailed(napi_status status, const char *what) {
    if (status != napi_ok) throw Error("INTERNAL", std::string("Node-API failed to ") + what);
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

    worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
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
            if (stopping_) return;
            job = std::move(queue_.front());
            queue_.pop_front();
        }
        perform(job);
        post({std::move(job), Outcome::Ended});
    }
}

void Worker::perform(const std::shared_ptr<Job> &job) noexcept {
    try {
        job->cancellation.throwIfRequested();
        job->result =
            job->task(job->cancellation, [&](const Progress &event) { progressed(job, event); });
    } catch (const Error &error) {
        job->error = error;
    } catch (const std::bad_alloc &) {
        job->error = Error("OUT_OF_MEMORY", "the system refused an allocation");
    } catch (const std::exception &error) {
        job->error = Error("INTERNAL", error.what());
    } catch (...) {
        job->error = Error("INTERNAL", "an unknown exception was thrown");
    }
    job->task = nullptr; // what it captured is freed here, not on the main thread
}

/// Keeps the latest event only, and one message at most: a busy main thread gets no backlog.
void Worker::progressed(const std::shared_ptr<Job> &job, const Progress &event) {
    if (!job->reportsProgress) return;
    bool underway = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        underway = job->event.has_value();
        // A preview that nobody has seen yet is worth more than none.
        const auto preview = underway ? job->event->preview : nullptr;
        job->event = event;
        if (!job->event->preview) job->event->preview = preview;
    }
    if (!underway) post({job, Outcome::Progress});
}

void Worker::post(Message message) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (stopping_) return;
        messages_.push_back(std::move(message));
    }
    napi_call_threadsafe_function(wake_, this, napi_tsfn_nonblocking);
}

// ---------------------------------------------------------------------------------------------
// On the main thread

Napi::Object Worker::submit(Napi::Env env, Task task, Options options) {
    const auto job = std::make_shared<Job>(env, std::move(task));
    if (options.onProgress.IsFunction()) {
        job->reportsProgress = true;
        job->onProgress = Napi::Persistent(options.onProgress.As<Napi::Function>());
    }
    if (!options.keepAlive.IsEmpty()) job->keepAlive = Napi::Persistent(options.keepAlive);
    job->afterwards = std::move(options.afterwards);

    if (jobs_.empty()) napi_ref_threadsafe_function(env, wake_);
    jobs_.push_back(job);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        queue_.push_back(job);
    }
    changed_.notify_one();

    Napi::Object handle = Napi::Object::New(env);
    handle.Set("done", job->deferred.Promise());
    const auto stop = [weak = weak_from_this(), job](const Napi::CallbackInfo &info) {
        if (const auto worker = weak.lock()) worker->cancel(info.Env(), job, "CANCELLED");
    };
    handle.Set("cancel", Napi::Function::New(env, stop, "cancel"));
    return handle;
}

void Worker::cancelAll(Napi::Env env, const std::string &code) {
    const auto all = jobs_; // cancelling takes jobs out of the list
    for (const auto &job : all) cancel(env, job, code);
}

void Worker::cancel(Napi::Env env, const std::shared_ptr<Job> &job, const std::string &code) {
    if (shutDown_ || job->cancellation.requested()) return;
    job->cancelCode = code;
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
        job->error = Cancelled();
        settle(env, job);
    }
}

void Worker::wakeUp(napi_env env, napi_value, void *worker, void *) {
    // Without an environment there is nobody to tell, and perhaps no worker any more.
    if (env == nullptr) return;
    const Napi::HandleScope scope(env);
    static_cast<Worker *>(worker)->receive(env);
}

void Worker::receive(Napi::Env env) {
    const auto self = shared_from_this(); // the last job may give the worker up
    while (!shutDown_) {
        Message message;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (messages_.empty()) return;
            message = std::move(messages_.front());
            messages_.pop_front();
        }
        if (message.outcome == Outcome::Progress) {
            reportProgress(env, *message.job);
        } else {
            settle(env, message.job);
        }
    }
}

void Worker::reportProgress(Napi::Env env, Job &job) {
    std::optional<Progress> event;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        event.swap(job.event);
    }
    if (!event || job.cancellation.requested()) return;
    try {
        job.onProgress.Call({toJs(env, *event)});
    } catch (const Napi::Error &error) {
        Napi::Object box = Napi::Object::New(env);
        box.Set("thrown", error.Value());
        job.thrown = Napi::Persistent(box);
        job.cancellation.request();
    }
}

void Worker::settle(Napi::Env env, const std::shared_ptr<Job> &job) {
    const Napi::HandleScope scope(env);
    bool succeeded = false;
    try {
        if (!job->thrown.IsEmpty()) {
            job->deferred.Reject(job->thrown.Value().Get("thrown"));
        } else if (job->error && job->error->code() == Cancelled().code()) {
            const bool disposed = job->cancelCode == "DISPOSED";
            const Error error(job->cancelCode, disposed ? "the mixer was disposed of"
                                                        : "the operation was cancelled");
            job->deferred.Reject(toJs(env, error).Value());
        } else if (job->error) {
            job->deferred.Reject(toJs(env, *job->error).Value());
        } else {
            job->deferred.Resolve(job->result(env));
            succeeded = true;
        }
    } catch (const Napi::Error &error) { // JavaScript had no memory for the result
        job->deferred.Reject(error.Value());
    }
    release(env, job, succeeded);
}

void Worker::release(Napi::Env env, const std::shared_ptr<Job> &job, bool succeeded) {
    job->result = nullptr;
    job->dropReferences();
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
    if (jobs_.empty() && !shutDown_) napi_unref_threadsafe_function(env, wake_);
    if (job->afterwards) std::exchange(job->afterwards, nullptr)(succeeded);
}

} // namespace magicmix::binding
