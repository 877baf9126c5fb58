#pragma once

#include <atomic>
#include <bitset>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace magicmix {

/// A team is never larger.
constexpr std::size_t kMaxThreads = 512;

/// The helping threads of the process. Whoever computes does so on its own thread, and shares its
/// work out in pieces that are taken one by one: a thread that the system has put aside holds up
/// the piece it is at, and nobody else. There are never more threads at work than cores while that
/// can be avoided: every `Team` that computes leaves one helper less to the others.
class ThreadPool {
public:
    /// The one of the process, which lives as long as somebody keeps it.
    static std::shared_ptr<ThreadPool> ofProcess();

    /// For at most so many threads at work together.
    explicit ThreadPool(int cores);
    ~ThreadPool();
    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    /// Makes threads, so that a team can be one of `threads`. Returns how large it can be: at least
    /// 1, less than wanted where there are fewer cores, or where the system gives no more threads.
    int prepare(int threads);

    /// A part of the work, with the number of the thread in its team: 0 is the caller's.
    using Work = std::function<void(int piece, int thread)>;

private:
    friend class Team;
    /// Work that is shared out.
    struct Job {
        Job(const Work &theWork, int count, int helpers)
            : work(theWork), pieces(count), helpersWanted(helpers) {}

        const Work &work;
        const int pieces, helpersWanted;
        std::atomic<int> next{0};         ///< the piece that is taken next
        std::atomic<int> helping{0};      ///< threads beside the caller's that are at a piece
        std::bitset<kMaxThreads> numbers; ///< of helpers that are taken
        bool callerSleeps = false;
        std::exception_ptr failure; ///< the first

        bool hasPieces() const { return next.load(std::memory_order_relaxed) < pieces; }
    };

    void enter();
    void leave();
    void run(int pieces, int threads, const Work &work);
    void perform(Job &job, int thread);
    void help();
    bool waitForJob(unsigned &seen);
    Job *chooseJob();
    void post(int helpers);

    const int cores_;
    std::atomic<int> teams_{0};       ///< that compute
    std::atomic<int> atWork_{0};      ///< helpers
    std::atomic<unsigned> posted_{0}; ///< counts jobs; helpers look at it while they spin

    std::mutex mutex_; ///< guards what follows, and all of a job that is not atomic
    std::condition_variable jobPosted_, jobEnded_;
    std::vector<Job *> jobs_;
    int asleep_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

/// Somebody who computes, for as long as it does; used by one thread.
class Team {
public:
    Team(ThreadPool &pool, int threads);
    ~Team();
    Team(const Team &) = delete;
    Team &operator=(const Team &) = delete;

    int threads() const { return threads_; }
    /// Calls `work` for every piece, on this thread and on those that are free. What one throws
    /// ends the others and is thrown here.
    void run(int pieces, const ThreadPool::Work &work) { pool_.run(pieces, threads_, work); }

private:
    ThreadPool &pool_;
    const int threads_;
};

} // namespace magicmix
