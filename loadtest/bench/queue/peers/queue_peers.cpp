// The C++ peers of the queue benchmark. Arguments: the queue, "thread" or "process", producers, records in a batch,
// nanoseconds of warm-up, measured nanoseconds, samples per producer.
#include <concurrentqueue/concurrentqueue.h>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "timed_run.hpp"

constexpr size_t CAPACITY = 1 << 16;  // records

struct Traits : moodycamel::ConcurrentQueueDefaultTraits {
    static const size_t BLOCK_SIZE = 256;  // faster here than the default of 32
};

// By tokens and in bulk, as its author advises. It has no capacity, so the control holds back its producers: with its
// bounded variants one producer may take all blocks, and others wait for ever.
class Moodycamel {
public:
    static constexpr size_t HOLD_ABOVE = 1 << 17;  // records; fastest of those tried
    using Queue = moodycamel::ConcurrentQueue<Record, Traits>;

    Moodycamel() : queue_(HOLD_ABOVE) {}

    struct Sender {
        Queue& queue;
        moodycamel::ProducerToken token;

        size_t offer(const Record* records, size_t count) {
            if (count == 1) return queue.enqueue(token, *records);
            return queue.enqueue_bulk(token, records, count) ? count : 0;
        }
    };
    struct Receiver {
        Queue& queue;
        moodycamel::ConsumerToken token;

        size_t take(Record* records, size_t limit) { return queue.try_dequeue_bulk(token, records, limit); }
    };
    Sender sender() { return {queue_, moodycamel::ProducerToken(queue_)}; }
    Receiver receiver() { return {queue_, moodycamel::ConsumerToken(queue_)}; }

private:
    Queue queue_;
};

// Has no bulk interface. Of fixed capacity it holds no pointers, so it works between processes too.
class BoostQueue {
public:
    static constexpr size_t HOLD_ABOVE = NEVER;
    struct End {
        BoostQueue& owner;

        size_t offer(const Record* records, size_t count) {
            size_t accepted = 0;
            while (accepted < count && owner.queue_.push(records[accepted])) accepted++;
            return accepted;
        }
        size_t take(Record* records, size_t limit) {
            size_t taken = 0;
            while (taken < limit && owner.queue_.pop(records[taken])) taken++;
            return taken;
        }
    };
    End sender() { return {*this}; }
    End receiver() { return {*this}; }

private:
    static constexpr size_t NODES = 65'000;  // its indices have 16 bits
    boost::lockfree::queue<Record, boost::lockfree::capacity<NODES>> queue_;
};

// For one producer.
class BoostSpsc {
public:
    static constexpr size_t HOLD_ABOVE = NEVER;
    struct End {
        BoostSpsc& owner;

        size_t offer(const Record* records, size_t count) { return owner.queue_.push(records, count); }
        size_t take(Record* records, size_t limit) { return owner.queue_.pop(records, limit); }
    };
    End sender() { return {*this}; }
    End receiver() { return {*this}; }

private:
    boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<CAPACITY>> queue_;
};

template <class Queue>
Queue& shared() {
    return *new (shared_memory(sizeof(Queue))) Queue();
}

int main(int count, char** arguments) {
    if (count != 8) fail("takes 7 arguments: see the top of queue_peers.cpp");
    const Options options{
        arguments[1],
        std::string(arguments[2]) == "process",
        std::atoi(arguments[3]),
        size_t(std::atoll(arguments[4])),
        uint64_t(std::atoll(arguments[5])),
        uint64_t(std::atoll(arguments[6])),
        size_t(std::atoll(arguments[7])),
    };
    if (options.impl == "moodycamel") {
        Moodycamel queue;
        run(queue, options);
    } else if (options.impl == "boost::lockfree::queue") {
        run(shared<BoostQueue>(), options);
    } else if (options.impl == "boost::lockfree::spsc_queue") {
        run(shared<BoostSpsc>(), options);
    } else {
        fail("no such queue");
    }
}
