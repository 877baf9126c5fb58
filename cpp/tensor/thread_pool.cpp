#include "tensor/thread_pool.h"

#include "tensor/machine.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace magicmix {
namespace {

using Clock = std::chrono::steady_clock;

// Nodes of a graph follow each other within microseconds, and being woken takes tens of them. The
// first part of the wait keeps the core; the rest lets others have it, who may be waited for.
constexpr int kPauses = 200;
constexpr std::chrono::microseconds kSpin(50);

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("yield");
#endif
}

/// Waits a moment for `happened`; returns whether it has.
template <typename Happened>
bool spinUntil(const Happened &happened) {
    for (int i = 0; i < kPauses; i++) {
        if (happened()) return true;
        pause();
    }
    for (const auto end = Clock::now() + kSpin; Clock::now() < end;) {
        if (happened()) return true;
        std::this_thread::yield();
    }
    return happened();
}

} // namespace

std::shared_ptr<ThreadPool> ThreadPool::ofProcess() {
    static std::mutex mutex;
    static std::weak_ptr<ThreadPool> current;
    const std::lock_guard<std::mutex> lock(mutex);
    auto pool = current.lock();
    if (!pool) current = pool = std::make_shared<ThreadPool>(machineShare().cores);
    return pool;
}

ThreadPool::ThreadPool(int cores) : cores_(std::min(cores, static_cast<int>(kMaxThreads))) {}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
        posted_++;
    }
    jobPosted_.notify_all();
    for (auto &thread : threads_) thread.join();
}

int ThreadPool::prepare(int threads) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto helpers = static_cast<std::size_t>(std::max(0, std::min(threads, cores_) - 1));
    try {
        while (threads_.size() < helpers) threads_.emplace_back([this] { help(); });
    } catch (const std::system_error &) {
        // The limit of a container or of a user: what there is has to do.
    }
    return 1 + static_cast<int>(std::min(helpers, threads_.size()));
}

// ---------------------------------------------------------------------------------------------
// On the thread that has work

void ThreadPool::enter() {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A node of a graph shares its work out below code in C, which exceptions cannot pass.
    jobs_.reserve(static_cast<std::size_t>(++teams_));
}

void ThreadPool::leave() {
    teams_--;
    post(cores_); // who helped it can help another
}

/// Tells so many helpers that there may be work for them.
void ThreadPool::post(int helpers) {
    int sleepers = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (jobs_.empty()) return;
        posted_++;
        if (teams_ + atWork_ < cores_) sleepers = std::min(helpers, asleep_);
    }
    for (int i = 0; i < sleepers; i++) jobPosted_.notify_one();
}

void ThreadPool::run(int pieces, int threads, const Work &work) {
    if (threads <= 1 || pieces <= 1) {
        for (int piece = 0; piece < pieces; piece++) work(piece, 0);
        return;
    }
    Job job(work, pieces, std::min(threads, pieces) - 1);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        jobs_.push_back(&job);
    }
    post(job.helpersWanted);

    perform(job, 0);

    {
        const std::lock_guard<std::mutex> lock(mutex_);
        jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job)); // nobody begins to help now
    }
    const auto ended = [&] { return job.helping.load(std::memory_order_acquire) == 0; };
    if (!spinUntil(ended)) {
        std::unique_lock<std::mutex> lock(mutex_);
        job.callerSleeps = true;
        jobEnded_.wait(lock, ended);
    }
    if (job.failure) std::rethrow_exception(job.failure);
}

/// Takes pieces until there are none; a helper leaves when it is needed elsewhere.
void ThreadPool::perform(Job &job, int thread) {
    try {
        while (thread == 0 || teams_ + atWork_ <= cores_) {
            const int piece = job.next.fetch_add(1, std::memory_order_relaxed);
            if (piece >= job.pieces) return;
            job.work(piece, thread);
        }
    } catch (...) {
        job.next.store(job.pieces, std::memory_order_relaxed);
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!job.failure) job.failure = std::current_exception();
    }
}

// ---------------------------------------------------------------------------------------------
// On the helping threads

void ThreadPool::help() {
    unsigned seen = 0;
    while (waitForJob(seen)) {
        std::unique_lock<std::mutex> lock(mutex_);
        Job *job = chooseJob();
        if (job == nullptr) continue;
        std::size_t number = 1; // 0 is the caller
        while (job->numbers[number]) number++;
        job->numbers.set(number);
        job->helping.fetch_add(1, std::memory_order_relaxed);
        atWork_++;
        lock.unlock();

        perform(*job, static_cast<int>(number));

        lock.lock();
        atWork_--;
        job->numbers.reset(number);
        const bool wake = job->callerSleeps && job->helping.load() == 1;
        job->helping.fetch_sub(1, std::memory_order_release); // the job may be gone after this
        lock.unlock();
        if (wake) jobEnded_.notify_all();
    }
}

/// False when the pool ends.
bool ThreadPool::waitForJob(unsigned &seen) {
    const auto posted = [&] { return posted_.load(std::memory_order_relaxed) != seen; };
    if (!spinUntil(posted)) {
        std::unique_lock<std::mutex> lock(mutex_);
        asleep_++;
        jobPosted_.wait(lock, posted);
        asleep_--;
    }
    seen = posted_.load(std::memory_order_relaxed);
    const std::lock_guard<std::mutex> lock(mutex_);
    return !stopping_;
}

/// Of those that have pieces left and want help, the one that has the least.
ThreadPool::Job *ThreadPool::chooseJob() {
    if (teams_ + atWork_ >= cores_) return nullptr;
    Job *chosen = nullptr;
    for (Job *job : jobs_) {
        if (!job->hasPieces() || job->helping >= job->helpersWanted) continue;
        if (chosen == nullptr || job->helping < chosen->helping) chosen = job;
    }
    return chosen;
}

// ---------------------------------------------------------------------------------------------

Team::Team(ThreadPool &pool, int threads) : pool_(pool), threads_(threads) { pool_.enter(); }

Team::~Team() { pool_.leave(); }

} // namespace magicmix
