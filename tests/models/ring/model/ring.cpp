// The ring of txqueue/ring once more, for ThreadSanitizer, which knows C++'s memory model and not numba's: the same
// stores and loads with the same orders, and buffers with frames of several sizes that go back to the front. The header of
// a frame is atomic, as consumers may read it while it is overwritten; its body is plain memory, so that every missing
// order between writing, copying and overwriting is a data race that ThreadSanitizer reports.
//
// ./ring [BROKEN]: with the number of a rule below, breaks it. Exits with 0 where every frame arrived whole, once, and
// in its producer's order; ThreadSanitizer exits with the code that it was given where it finds a race.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

enum Rule {
    NOTHING,
    SLOT_NOT_RELEASED,       // producer: the slot is filled without releasing the frame
    FRAME_AFTER_SLOT,        // producer: the slot is filled before the frame is written
    SLOT_STORED,             // producer: the slot is filled by a store
    READ_NOT_ACQUIRED,       // producer: READ is loaded without acquiring
    HEAD_NOT_ACQUIRED,       // producer: HEAD is loaded without acquiring
    BUFFER_NOT_CHECKED,        // producer: what was not committed is overwritten
    SLOT_NOT_ACQUIRED,       // consumer: the slot is loaded without acquiring the frame
    READ_NOT_RELEASED,       // consumer: READ is stored without releasing the copies
    HEAD_NOT_RELEASED,       // consumer: HEAD is moved without releasing the copies
    COMMITTED_BEFORE_COPY,   // consumer: HEAD and READ move before the frames are copied
    SKIP_FROM_NOT_SEEN,      // consumer: the way back to the front is not looked at
};

static int broken = NOTHING;

using Word = std::uint64_t;
using Atomic = std::atomic<Word>;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto seq_cst = std::memory_order_seq_cst;

constexpr Word PRODUCERS = 3;
constexpr Word SLOTS = 8;
constexpr Word BUFFER = 32;
constexpr Word HEADER = 3;  // the announcing word, the count of the body's words, the token
constexpr Word BODY_MAX = 12;
constexpr Word FRAMES = 4000;  // of each producer
constexpr Word CONSUMERS = 40;  // one after the other
constexpr Word BATCH = 4;
constexpr int PRODUCER_BITS = 16;
constexpr int EPOCH_BITS = 16;
constexpr Word EPOCH_MASK = (Word(1) << EPOCH_BITS) - 1;
constexpr Word NO_SKIP = ~Word(0);
constexpr Word NO_ROOM = ~Word(0);

struct alignas(128) Control {
    Word write = 0, head_seen = SLOTS;
    Atomic skip_from{NO_SKIP};
    Atomic oldest{0};
    alignas(128) Atomic read{0};
};

struct Cell {
    Atomic header{0};
    Word body = 0;
};

struct Ring {
    alignas(128) Atomic tail{SLOTS};
    alignas(128) Atomic head{SLOTS << EPOCH_BITS};
    std::array<Atomic, SLOTS> slots;
    std::array<Control, PRODUCERS> controls;
    std::array<std::array<Cell, BUFFER>, PRODUCERS> buffers;
};

static Ring ring;
static Atomic turn{0};      // the consumer whose turn it is; relaxed, so that it orders nothing
static Atomic taken_in_all{0};
static Atomic faults{0};

static bool announces(Word word, Word position) { return word >> PRODUCER_BITS == position; }
static Word content(Word token, Word index) { return token * 31 + index; }

static Word load(const Atomic& word, Rule rule) {
    return broken == rule ? word.load(relaxed) : word.load(acquire);
}

// -- producer

static void advance(Control& control, Word to) {
    if (to > control.oldest.load(relaxed)) {
        control.oldest.store(to, relaxed);
        std::atomic_thread_fence(release);
    }
}

static Word read_before(Control& control) {
    const Word read = load(control.read, READ_NOT_ACQUIRED);
    return read == control.skip_from.load(relaxed) ? (read | (BUFFER - 1)) + 1 : read;
}

static Word committed(Word producer, Control& control) {
    const Word head = load(ring.head, HEAD_NOT_ACQUIRED) >> EPOCH_BITS;
    auto& buffer = ring.buffers[producer];
    Word at = control.oldest.load(relaxed);
    while (at < control.write) {
        if (at == control.skip_from.load(relaxed)) {
            at = (at | (BUFFER - 1)) + 1;
            continue;
        }
        if (buffer[at % BUFFER].header.load(relaxed) >> PRODUCER_BITS >= head) break;
        at += HEADER + buffer[at % BUFFER + 1].header.load(relaxed);
    }
    return at;
}

static Word place(Control& control, Word need) {
    const Word write = control.write, oldest = control.oldest.load(relaxed), offset = write % BUFFER;
    const Word front = write - offset + BUFFER;
    if (write == oldest) return offset ? front : write;
    const Word consumed = oldest % BUFFER;
    const bool in_one_lap = consumed <= offset && write - oldest < BUFFER;
    const bool front_is_free = in_one_lap && consumed >= BUFFER / 4 && need <= consumed;
    if (offset + need > BUFFER || front_is_free) {
        const Word skip = control.skip_from.load(relaxed);
        if (broken == BUFFER_NOT_CHECKED) return front;
        return (skip != NO_SKIP && skip >= oldest) || front + need - oldest > BUFFER ? NO_ROOM : front;
    }
    return write + need - oldest <= BUFFER || broken == BUFFER_NOT_CHECKED ? write : NO_ROOM;
}

static Word find_room(Word producer, Control& control, Word need) {
    advance(control, read_before(control));
    Word start = place(control, need);
    if (start == NO_ROOM) {
        advance(control, committed(producer, control));
        start = place(control, need);
    }
    if (start != NO_ROOM && start > control.write) {
        if (control.write == control.oldest.load(relaxed))
            advance(control, start);
        else
            control.skip_from.store(control.write, release);
        control.write = start;
    }
    return start;
}

static bool has_slot(Control& control) {
    const Word tail = ring.tail.load(acquire);
    if (std::int64_t(tail - control.head_seen) < std::int64_t(SLOTS - PRODUCERS)) return true;
    control.head_seen = load(ring.head, HEAD_NOT_ACQUIRED) >> EPOCH_BITS;
    return std::int64_t(tail - control.head_seen) < std::int64_t(SLOTS - PRODUCERS);
}

static bool fill(Atomic& slot, Word expected, Word word) {
    if (broken == SLOT_STORED) {
        slot.store(word, seq_cst);
        return true;
    }
    if (broken == SLOT_NOT_RELEASED) return slot.compare_exchange_strong(expected, word, relaxed);
    return slot.compare_exchange_strong(expected, word, seq_cst);
}

static bool enqueue(Word producer, Word token, Word count) {
    Control& control = ring.controls[producer];
    const Word start = has_slot(control) ? find_room(producer, control, HEADER + count) : NO_ROOM;
    if (start == NO_ROOM) return false;
    Cell* frame = &ring.buffers[producer][start % BUFFER];
    auto write_body = [&] {
        for (Word index = 0; index < count; index++) frame[HEADER + index].body = content(token, index);
    };
    frame[1].header.store(count, relaxed);
    frame[2].header.store(token, relaxed);
    if (broken != FRAME_AFTER_SLOT) write_body();
    Word tail;
    for (;;) {
        tail = ring.tail.load(acquire);
        Atomic& slot = ring.slots[tail % SLOTS];
        const Word word = slot.load(acquire);
        Word expected = tail;
        if (announces(word, tail)) {
            ring.tail.compare_exchange_strong(expected, tail + 1, seq_cst);
        } else if (announces(word, tail - SLOTS)) {
            const Word announcement = tail << PRODUCER_BITS | producer;
            frame[0].header.store(announcement, relaxed);
            if (fill(slot, word, announcement)) break;
        }
    }
    Word expected = tail;
    ring.tail.compare_exchange_strong(expected, tail + 1, seq_cst);
    if (broken == FRAME_AFTER_SLOT) write_body();
    control.write = start + HEADER + count;
    return true;
}

static void produce(Word producer) {
    std::minstd_rand chance(unsigned(producer) + 1);
    for (Word number = 0; number < FRAMES && !faults.load(relaxed);) {
        if (enqueue(producer, producer << 32 | number, 1 + chance() % BODY_MAX))
            number++;
        else if (chance() % 8 == 0)
            std::this_thread::yield();
    }
}

// -- consumer

struct Taken {
    Word cursor, producer, token, count;
    Cell* frame;
};

struct Consumer {
    Word epoch = 0;
    std::array<Word, PRODUCERS> cursors{};
    std::vector<Taken> batch;
    std::array<Word, BATCH * BODY_MAX> body{};

    void take_over() {
        Word seen = ring.head.load(acquire);
        while (!ring.head.compare_exchange_weak(seen, (seen & ~EPOCH_MASK) | ((seen + 1) & EPOCH_MASK), seq_cst)) {}
        epoch = (seen + 1) & EPOCH_MASK;
    }

    bool seek(Word word, Taken& found) {
        const Word producer = word & ((Word(1) << PRODUCER_BITS) - 1);
        Control& control = ring.controls[producer];
        Word cursor = cursors[producer];
        for (;;) {
            const Word oldest = control.oldest.load(acquire);
            cursor = std::max(cursor, oldest);
            if (cursor == control.skip_from.load(acquire) && broken != SKIP_FROM_NOT_SEEN)
                cursor = (cursor | (BUFFER - 1)) + 1;
            Cell* frame = &ring.buffers[producer][cursor % BUFFER];
            const Word at = frame[0].header.load(acquire);
            if (cursor % BUFFER + HEADER > BUFFER) return false;
            const Word count = frame[1].header.load(acquire), token = frame[2].header.load(acquire);
            if (control.oldest.load(relaxed) > cursor) continue;
            if (at == word) {
                found = {cursor, producer, token, count, frame};
                return true;
            }
            if (at > word || cursor - oldest > BUFFER || count > BODY_MAX) return false;
            cursor += HEADER + count;
        }
    }

    bool choose(Word head, Word limit) {
        batch.clear();
        while (batch.size() < limit) {
            const Word position = head + batch.size();
            const Word word = load(ring.slots[position % SLOTS], SLOT_NOT_ACQUIRED);
            if (!announces(word, position)) break;
            Taken found;
            if (!seek(word, found)) return false;
            cursors[found.producer] = found.cursor + HEADER + found.count;
            batch.push_back(found);
        }
        return true;
    }

    void copy() {
        Word at = 0;
        for (const Taken& taken : batch)
            for (Word index = 0; index < taken.count; index++) body[at++] = taken.frame[HEADER + index].body;
    }

    bool commit(Word seen) {
        const Word next = seen + (Word(batch.size()) << EPOCH_BITS);
        return ring.head.compare_exchange_strong(seen, next, broken == HEAD_NOT_RELEASED ? relaxed : seq_cst);
    }

    void tell_producers() {
        for (const Taken& taken : batch)
            ring.controls[taken.producer].read.store(cursors[taken.producer],
                                                     broken == READ_NOT_RELEASED ? relaxed : release);
    }

    void check(std::array<Word, PRODUCERS>& expected) {
        Word at = 0;
        for (const Taken& taken : batch) {
            bool right = taken.token == (taken.producer << 32 | expected[taken.producer]++);
            for (Word index = 0; index < taken.count; index++) right &= body[at++] == content(taken.token, index);
            if (!right) faults++;
        }
        taken_in_all += batch.size();
    }
};

static std::array<Atomic, PRODUCERS> next_token;  // relaxed: handed from consumer to consumer without ordering anything

// Takes over, consumes for a while, then dies in a dequeue: before its batch is committed, or before it told producers.
// It never dies with a copy that it throws away: that copy may be overwritten while it is made, by design. The last
// consumer lives to the end.
static void consume(Word number) {
    while (turn.load(relaxed) != number) std::this_thread::yield();
    std::minstd_rand chance(unsigned(number) + 100);
    Consumer consumer;
    consumer.take_over();
    std::array<Word, PRODUCERS> expected;
    for (Word producer = 0; producer < PRODUCERS; producer++)
        expected[producer] = next_token[producer].load(relaxed);
    const bool is_last = number == CONSUMERS - 1;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    Word left = 100 + chance() % 200;
    for (;;) {
        const bool dies = !is_last && left-- == 0;
        const bool dies_late = chance() % 2;
        const Word seen = ring.head.load(acquire);
        if (!consumer.choose(seen >> EPOCH_BITS, 1 + chance() % BATCH)) {
            faults++;  // nobody has taken over: the frame must be there
            break;
        }
        if (faults.load(relaxed) || std::chrono::steady_clock::now() > deadline) break;
        if (consumer.batch.empty()) {
            if (taken_in_all.load(relaxed) == FRAMES * PRODUCERS) break;
            std::this_thread::yield();
            if (dies) break;
            continue;
        }
        if (dies && !dies_late) break;
        if (broken != COMMITTED_BEFORE_COPY) consumer.copy();
        if (!consumer.commit(seen)) {
            faults++;
            break;
        }
        if (broken == COMMITTED_BEFORE_COPY) {
            consumer.tell_producers();
            consumer.copy();
        }
        consumer.check(expected);
        for (Word producer = 0; producer < PRODUCERS; producer++)
            next_token[producer].store(expected[producer], relaxed);
        if (dies) break;
        if (chance() % 4) consumer.tell_producers();  // otherwise producers have to go by HEAD, as after a death
    }
    turn.store(number + 1, relaxed);
}

int main(int count, char** arguments) {
    broken = count > 1 ? std::atoi(arguments[1]) : NOTHING;
    for (Word slot = 0; slot < SLOTS; slot++) ring.slots[slot].store(slot << PRODUCER_BITS, relaxed);
    std::vector<std::thread> threads;
    for (Word producer = 0; producer < PRODUCERS; producer++) threads.emplace_back(produce, producer);
    for (Word number = 0; number < CONSUMERS; number++) threads.emplace_back(consume, number);
    for (std::thread& thread : threads) thread.join();
    std::printf("%lu of %lu frames, %lu faults\n", taken_in_all.load(), FRAMES * PRODUCERS, faults.load());
    return faults || taken_in_all != FRAMES * PRODUCERS;
}
