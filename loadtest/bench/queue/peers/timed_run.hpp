// One run of a C++ queue: drives, times and checks it. timed_run.py is the same for the others.
#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

struct alignas(64) Record {
    uint64_t words[8];
};
constexpr int VALUE = 1;  // the word that makes a record unique
constexpr int VALUE_PRODUCER_SHIFT = 40;
constexpr size_t BATCH_SIZE = 10'000;

constexpr size_t NEVER = ~size_t(0);
constexpr uint64_t STALLED_NS = 30'000'000'000;
constexpr int POLLS_PER_CLOCK = 32;  // dequeues between two readings of the clock
constexpr int PAUSES = 16;          // before the processor is given away
constexpr size_t FEW_RECORDS = 64;
constexpr int GATHERING_PAUSES = 200;

struct Options {
    std::string impl;
    bool processes;
    int producers;
    size_t batch;
    uint64_t warmup_ns;
    uint64_t measured_ns;
    size_t samples;  // per producer, a power of two; 0 where operations are not timed
};

// Zeroed memory that forked processes share; lives as long as the program.
inline void* shared_memory(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("mmap");
        std::exit(1);
    }
    return memory;
}

struct alignas(128) Sent {
    std::atomic<uint64_t> records;
};

struct Control {
    alignas(128) std::atomic<int> ready;
    alignas(128) std::atomic<int> go;
    alignas(128) std::atomic<int> stop;
    std::atomic<int> hold;  // while more records wait than a queue without a capacity should hold
    alignas(128) std::atomic<int> done;
};

inline uint64_t monotonic_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
}

inline void back_off(int tries) {
    if (tries < PAUSES) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    } else {
        sched_yield();
    }
}

// As penstock's consumer does after a batch of few records: others gain by it, too.
inline void let_gather(size_t count) {
    if (count >= FEW_RECORDS) return;
#if defined(__x86_64__)
    for (int each = 0; each < GATHERING_PAUSES; each++) __builtin_ia32_pause();
#endif
}

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

template <class Queue>
void produce(Queue& queue, Control& control, Sent& sent, uint64_t* samples, const Options& options, int number) {
    std::vector<Record> records(options.batch, Record{});
    auto sender = queue.sender();
    uint64_t total = 0;
    uint64_t operations = 0;
    control.ready.fetch_add(1);
    while (control.go.load(std::memory_order_acquire) == 0) sched_yield();
    while (control.stop.load(std::memory_order_relaxed) == 0) {
        for (int tries = 0; control.hold.load(std::memory_order_relaxed) != 0; tries++) back_off(tries);
        for (auto& record : records) record.words[VALUE] = uint64_t(number) << VALUE_PRODUCER_SHIFT | total++;
        size_t accepted = 0;
        int tries = 0;
        while (accepted < records.size()) {
            const uint64_t began = options.samples ? monotonic_ns() : 0;
            const size_t more = sender.offer(records.data() + accepted, records.size() - accepted);
            if (more == 0) {
                back_off(tries++);
            } else {
                if (options.samples) samples[operations++ & (options.samples - 1)] = monotonic_ns() - began;
                accepted += more;
                tries = 0;
            }
        }
        sent.records.store(total, std::memory_order_relaxed);
    }
    control.done.fetch_add(1);
}

inline uint64_t total_sent(const Sent* sent, int producers) {
    uint64_t total = 0;
    for (int number = 0; number < producers; number++) total += sent[number].records.load(std::memory_order_relaxed);
    return total;
}

struct Tally {
    uint64_t received = 0, sum = 0, records = 0, nanoseconds = 0;
};

template <class Queue>
Tally consume(Queue& queue, Control& control, const Sent* sent, const Options& options) {
    std::vector<Record> body(BATCH_SIZE);
    auto receiver = queue.receiver();
    Tally tally;
    int tries = 0;
    while (control.ready.load() < options.producers) sched_yield();
    uint64_t from = 0, from_records = 0, until = 0;
    uint64_t last = monotonic_ns();
    const uint64_t measure_at = last + options.warmup_ns;
    control.go.store(1, std::memory_order_release);
    while (true) {
        const bool all_done = control.done.load() == options.producers;
        uint64_t count = 0;
        for (int poll = 0; poll < POLLS_PER_CLOCK && count < BATCH_SIZE; poll++) {
            const size_t taken = receiver.take(body.data(), body.size());
            if (taken == 0) break;
            for (size_t index = 0; index < taken; index++) tally.sum += body[index].words[VALUE];
            count += taken;
            let_gather(taken);
        }
        tally.received += count;
        const uint64_t now = monotonic_ns();
        if (count) last = now;
        if (from == 0) {
            if (now >= measure_at) from = now, from_records = tally.received;
        } else if (until == 0) {
            if (now >= from + options.measured_ns) {
                until = now;
                tally.records = tally.received - from_records;
                tally.nanoseconds = until - from;
                control.stop.store(1);
            }
        } else if (all_done) {
            if (tally.received >= total_sent(sent, options.producers) && count == 0) return tally;
        }
        if (Queue::HOLD_ABOVE != NEVER) {
            const auto waiting = int64_t(total_sent(sent, options.producers) - tally.received);
            const bool hold = waiting > int64_t(Queue::HOLD_ABOVE);
            if (hold != control.hold.load(std::memory_order_relaxed)) control.hold.store(hold);
        }
        if (now - last > STALLED_NS) fail("records were lost: no more arrive");
        if (count) tries = 0;
        else back_off(tries++);
    }
}

inline void verify(const Tally& tally, const Sent* sent, int producers) {
    uint64_t sum = 0;
    for (int number = 0; number < producers; number++) {
        const uint64_t count = sent[number].records.load();
        sum += count * (uint64_t(number) << VALUE_PRODUCER_SHIFT) + count * (count - 1) / 2;
    }
    if (tally.received != total_sent(sent, producers) || tally.sum != sum) fail("what was received is not what was sent");
}

inline uint64_t timer_ns() {
    std::vector<uint64_t> samples(4096);
    for (auto& sample : samples) {
        const uint64_t began = monotonic_ns();
        sample = monotonic_ns() - began;
    }
    std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
    return samples[samples.size() / 2];
}

// Runs the queue, and prints what cpp_queues.py reads: one line of JSON, then the samples in nanoseconds.
template <class Queue>
void run(Queue& queue, const Options& options) {
    auto& control = *static_cast<Control*>(shared_memory(sizeof(Control)));
    auto* sent = static_cast<Sent*>(shared_memory(sizeof(Sent) * options.producers));
    auto* samples = static_cast<uint64_t*>(shared_memory(8 * std::max<size_t>(1, options.samples * options.producers)));
    auto work = [&](int number) {
        produce(queue, control, sent[number], samples + number * options.samples, options, number);
    };
    std::vector<std::thread> threads;
    for (int number = 0; number < options.producers; number++) {
        if (!options.processes) {
            threads.emplace_back(work, number);
        } else if (fork() == 0) {
            work(number);
            _exit(0);
        }
    }
    const Tally tally = consume(queue, control, sent, options);
    for (auto& thread : threads) thread.join();
    if (options.processes) while (wait(nullptr) > 0) {}
    verify(tally, sent, options.producers);
    std::printf("{\"records\": %lu, \"nanoseconds\": %lu, \"timer_ns\": %lu}\n", tally.records, tally.nanoseconds,
                timer_ns());
    for (int number = 0; number < options.producers; number++)
        for (size_t index = 0; index < std::min(options.samples, sent[number].records.load()); index++)
            std::printf("%lu\n", samples[number * options.samples + index]);
}
