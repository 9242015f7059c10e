/* The ring of txqueue/ring/ring.py, producer_buffer.py, dequeue.py and producer_registry.py: producers publish frames and may die
 * between any two steps; a consumer takes batches and may be taken over between any two steps, dead or alive; a
 * process registers in a dead producer's place. docs/verification.md says what this shows and what it does not.
 *
 * A frame is a header, the word that announces it, and a body of two cells that are written and copied one at a time: a
 * body whose cells differ was torn. A word is position * 4 + producer. One statement, d_step or atomic block touches
 * shared memory once, as one load, store or compare-and-swap does. Whoever is refused blocks here until what refused it
 * changes, so a ring that stalls shows as a process that cannot end.
 *
 * The buffers hold frames of one size here; frames of several sizes and the way back to the front are in ring.cpp.
 */

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef FRAMES
#define FRAMES 2        /* of each producer, but the first */
#endif
#ifndef FRAMES_OF_FIRST
#define FRAMES_OF_FIRST FRAMES
#endif
#ifndef CONSUMERS
#define CONSUMERS 2     /* each takes over from the one before, at any moment */
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef BUFFER
#define BUFFER 1          /* frames that a buffer holds */
#endif
#ifndef BATCH
#define BATCH 2         /* frames that a batch holds at most */
#endif
#ifndef DEATHS
#define DEATHS 0        /* of producers */
#endif
#ifndef HEIRS
#define HEIRS 0         /* processes that register in the place of a dead producer */
#endif

/* Each variant breaks one rule, chosen at run time so that one compilation serves for all. */
#define FRAME_AFTER_SLOT 1 /* producer: the slot is filled before the frame is written */
#define SLOT_STORED 2 /* producer: the slot is filled by a store */
#define TAIL_STORED 3 /* producer: the tail is moved by a store */
#define TAIL_BEFORE_SLOT 4 /* producer: the tail is moved before the slot is filled */
#define TAIL_NOT_HELPED 5 /* producer: nobody moves the tail for another */
#define LAP_NOT_CHECKED 6 /* producer: a slot is filled whatever lap its word is of */
#define SLOTS_NOT_RESERVED 7 /* producer: claims leave no room for the claims of others */
#define SLOTS_NOT_CHECKED 8 /* producer: HEAD is not looked at for room in the slots */
#define BUFFER_NOT_CHECKED 9 /* producer: neither READ nor HEAD is looked at for room in the buffer */
#define FRAME_BEFORE_ROOM 10 /* producer: room in the buffer is looked for only after the frame was begun */
#define OLDEST_AFTER_FRAME 11 /* producer: OLDEST moves after what is below it was overwritten */
#define ALL_COMMITTED 12 /* producer: whatever it published counts as committed */
#define READ_ALONE 13 /* producer: a READ that lags behind is trusted, HEAD is not looked at */
#define FRAME_BEFORE_WORD 14 /* consumer: the frame is loaded before the slot */
#define HEAD_BEFORE_COPY 15 /* consumer: HEAD moves before the frames are copied */
#define HEAD_STORED 16 /* consumer: HEAD moves by a store */
#define READ_BEFORE_COPY 17 /* consumer: READ moves before the frames are copied */
#define READ_BEFORE_HEAD 18 /* consumer: READ moves before HEAD */
#define EPOCH_IGNORED 19 /* consumer: HEAD moves although another has taken over */
#define FRAME_NOT_SOUGHT 20 /* consumer: whatever stands at the cursor is taken */
#define CURSOR_TRUSTED 21 /* consumer: OLDEST is not looked at before a header is read */
#define OLDEST_NOT_LOOKED_AT_AGAIN 22 /* consumer: nor after it */
#define WAITING_OVERWRITTEN 23 /* registration: frames in the slots are not waited for */
#define LAP_CONTINUED 24 /* registration: the buffer continues at WRITE */

#ifdef VARIANTS
byte broken;
#define BROKEN(rule) (broken == rule)
#else
#define BROKEN(rule) false
#endif

#define LIMIT (BROKEN(SLOTS_NOT_RESERVED) -> SLOTS : SLOTS - PRODUCERS)
#define WORD(position, producer) ((position) * 4 + (producer))
#define ANNOUNCES(word, position) ((word) / 4 == (position))
#define OF_LAP_BEFORE(word, position) ((word) / 4 == (position) - SLOTS || BROKEN(LAP_NOT_CHECKED))
#define READY ANNOUNCES(slot[head % SLOTS], head)

byte tail = SLOTS;              /* positions begin with the second lap: every slot holds the word of a lap before */
byte head = SLOTS;              /* head and epoch are one word */
byte epoch;
byte slot[SLOTS];
byte write[PRODUCERS];
byte oldest[PRODUCERS];
byte read[PRODUCERS];

typedef Buffer {
    byte word[BUFFER];
    byte left[BUFFER];
    byte right[BUFFER];
}
Buffer buffer[PRODUCERS];

/* What only the checks know. */
byte expected[SLOTS];           /* the body published at each position that was not committed, or 0 */
bool dead[PRODUCERS];
byte working = PRODUCERS + HEIRS;

#define BODY(producer, number) ((producer) * 16 + (number))

#define PUBLISHED 255

/* Compare-and-swap on the tail, from at to at + 1; then forgets what was loaded. */
inline move_tail() {
    d_step {
        if :: tail == at || BROKEN(TAIL_STORED) -> tail = at + 1 :: else fi;
        at = 0; word = 0
    }
}

inline advance(to) {
    atomic { if :: to > oldest[me] -> oldest[me] = to :: else fi; to = 0 }
}

/* By READ, and where that does not do, by what HEAD says of each frame. */
inline find_room() {
    do
    :: BROKEN(BUFFER_NOT_CHECKED) || write[me] + 1 - oldest[me] <= BUFFER -> break
    :: !BROKEN(BUFFER_NOT_CHECKED) && write[me] + 1 - oldest[me] > BUFFER ->
       at = read[me];
       if
       :: at > oldest[me] -> advance(at)
       :: else ->
          at = head;
          atomic {
              word = oldest[me];
              do
              :: word < write[me] && (buffer[me].word[word % BUFFER] / 4 < at || BROKEN(ALL_COMMITTED)) -> word++
              :: else -> break
              od
          };
          if
          :: word > oldest[me] && !BROKEN(READ_ALONE) -> advance(word)
          :: else -> read[me] > oldest[me] || (head > at && !BROKEN(READ_ALONE))
          fi
       fi
    od;
    at = tail;
    do
    :: at - head < LIMIT || BROKEN(SLOTS_NOT_CHECKED) -> break
    :: d_step { at - head >= LIMIT && tail != at && !BROKEN(SLOTS_NOT_CHECKED) -> at = tail }
    od
}

inline write_frame() {
    buffer[me].left[write[me] % BUFFER] = body;
    buffer[me].right[write[me] % BUFFER] = body
}

/* Two ways of being too early: before anything allows it; or rightly, but before OLDEST says so. */
inline begin_early() {
    if
    :: BROKEN(OLDEST_AFTER_FRAME) && write[me] + 1 - oldest[me] > BUFFER ->
       buffer[me].word[oldest[me] % BUFFER] / 4 < head;
       buffer[me].word[write[me] % BUFFER] = 255
    :: else
    fi;
    write_frame()
}

inline publish() {
    do
    :: at = tail;
       word = slot[at % SLOTS];
       if
       :: ANNOUNCES(word, at) && !BROKEN(TAIL_NOT_HELPED) -> move_tail()
       :: ANNOUNCES(word, at) && BROKEN(TAIL_NOT_HELPED) -> tail != at
       :: !ANNOUNCES(word, at) && OF_LAP_BEFORE(word, at) ->
          /* A publication never waits for room: its claim has seen to it. */
          assert(at - head < SLOTS || BROKEN(SLOTS_NOT_CHECKED));
          buffer[me].word[write[me] % BUFFER] = WORD(at, me);
          if
          :: BROKEN(TAIL_BEFORE_SLOT) -> move_tail(); at = buffer[me].word[write[me] % BUFFER] / 4
          :: else
          fi;
          d_step {
              if
              :: slot[at % SLOTS] == word || BROKEN(SLOT_STORED) || BROKEN(TAIL_BEFORE_SLOT) ->
                 slot[at % SLOTS] = WORD(at, me);
                 assert(expected[at % SLOTS] == 0);     /* otherwise a frame that waited is lost */
                 expected[at % SLOTS] = body;
                 word = PUBLISHED
              :: else
              fi
          };
          if :: word == PUBLISHED -> break :: else fi
       :: !ANNOUNCES(word, at) && !OF_LAP_BEFORE(word, at) -> tail != at
       fi
    od;
    move_tail()
}

inline produce(first) {
    number = first;
    do
    :: number == first + (me == 0 -> FRAMES_OF_FIRST : FRAMES) -> break
    :: else ->
       body = BODY(me, number);
       if
       :: BROKEN(FRAME_BEFORE_ROOM) || BROKEN(OLDEST_AFTER_FRAME) -> begin_early(); find_room(); publish()
       :: BROKEN(FRAME_AFTER_SLOT) -> find_room(); publish(); write_frame()
       :: else -> find_room(); write_frame(); publish()
       fi;
       d_step { write[me] = write[me] + 1; number++ }
    od
}

proctype producer(byte me) {
    byte at, word, number, body;
#if DEATHS
    { produce(1) } unless { dead[me] };
#else
    produce(1);
#endif
    atomic { working--; at = 0; word = 0; number = 0; body = 0 }
}

/* Registers as a producer whose process has died, and goes on in its buffer. */
proctype heir(byte me) {
    byte at, end, word, number, body;
    if
    :: dead[me]
    :: !dead[me] && working == HEIRS -> goto done    /* nobody died */
    fi;
look:
    at = head;
    end = tail;
    do
    :: at > end || BROKEN(WAITING_OVERWRITTEN) -> break
    :: else ->
       word = slot[at % SLOTS];
       if
       :: ANNOUNCES(word, at) && word % 4 == me -> head > at; goto look
       :: else -> at++
       fi
    od;
    /* A fresh lap, beyond whatever was published last: its owner may have died before it moved WRITE on. */
    atomic {
        at = 0; end = 0; word = 0;
        number = ((write[me] > oldest[me] -> write[me] : oldest[me]) / BUFFER + 1) * BUFFER;
        if :: BROKEN(LAP_CONTINUED) -> number = write[me] :: else fi
    };
    oldest[me] = number;
    write[me] = number;
    produce(8);
done:
    atomic { working--; at = 0; end = 0; word = 0; number = 0; body = 0 }
}

/* Walks from the cursor, or from OLDEST, to the frame that the word announces; a header counts only if OLDEST is not
 * beyond it afterwards.
 */
inline seek() {
    place = cursor[word % 4];
    do
    :: d_step {
           least = oldest[word % 4];
           if :: place < least && !BROKEN(CURSOR_TRUSTED) -> place = least :: else fi
       };
       found = buffer[word % 4].word[place % BUFFER];
       if
       :: oldest[word % 4] > place && !BROKEN(OLDEST_NOT_LOOKED_AT_AGAIN) && !BROKEN(CURSOR_TRUSTED)
       :: else ->
          if
          :: found == word || BROKEN(FRAME_NOT_SOUGHT) -> break
          :: found != word && !BROKEN(FRAME_NOT_SOUGHT) && (found > word || place - least > BUFFER) ->
             assert(epoch != mine);     /* it is not there only for whom another has taken over from */
             goto fenced
          :: else -> place++
          fi
       fi
    od
}

inline choose_frames() {
    do
    :: taken < BATCH ->
       if
       :: BROKEN(FRAME_BEFORE_WORD) -> left[taken] = buffer[0].left[cursor[0] % BUFFER]
       :: else
       fi;
       if
       :: ANNOUNCES(slot[(at + taken) % SLOTS], at + taken) -> word = slot[(at + taken) % SLOTS]
       :: else -> break
       fi;
       seek();
       atomic {
           source[taken] = word % 4 * BUFFER + place % BUFFER;
           cursor[word % 4] = place + 1;
           taken++; word = 0; place = 0; least = 0; found = 0
       }
    :: taken > 0 -> break       /* any limit on the batch */
    od
}

inline copy() {
    row = 0;
    do
    :: row == taken -> break
    :: else ->
       if
       :: BROKEN(FRAME_BEFORE_WORD) && source[row] / BUFFER == 0
       :: else -> left[row] = buffer[source[row] / BUFFER].left[source[row] % BUFFER]
       fi;
       d_step { right[row] = buffer[source[row] / BUFFER].right[source[row] % BUFFER]; row++ }
    od
}

/* One compare-and-swap; with it the batch is the caller's. */
inline commit() {
    atomic {
        if
        :: (head == at || BROKEN(HEAD_STORED)) && (epoch == mine || BROKEN(HEAD_STORED) || BROKEN(EPOCH_IGNORED)) ->
           assert(epoch == mine);                                   /* fenced */
           head = at + taken;
           row = 0;
           do
           :: row == taken -> break
           :: else ->
              assert(left[row] == right[row]);                      /* torn */
              assert(left[row] == expected[(at + row) % SLOTS]);    /* lost, repeated, reordered */
              expected[(at + row) % SLOTS] = 0;
              row++
           od
        :: else -> goto fenced
        fi
    }
}

inline tell_producers() {
    row = 0;
    do
    :: row == PRODUCERS -> break
    :: row < PRODUCERS && cursor[row] > 0 -> d_step { read[row] = cursor[row]; row++ }
    :: row < PRODUCERS && cursor[row] == 0 -> row++
    od
}

inline forget() {
    row = 0;
    do
    :: row == BATCH -> break
    :: else -> left[row] = 0; right[row] = 0; source[row] = 0; row++
    od;
    row = 0; at = 0; taken = 0; place = 0; word = 0; least = 0; found = 0
}

proctype consume(byte mine) {
    byte at, taken, word, place, least, found, row;
    byte source[BATCH], left[BATCH], right[BATCH], cursor[PRODUCERS];
    atomic { epoch == mine - 1 -> epoch = mine };      /* claims, or takes over */
    do
    :: atomic { epoch == mine && READY -> at = head };
       choose_frames();
       if
       :: BROKEN(HEAD_BEFORE_COPY) -> commit(); copy(); tell_producers()
       :: BROKEN(READ_BEFORE_COPY) -> tell_producers(); copy(); commit()
       :: BROKEN(READ_BEFORE_HEAD) -> copy(); tell_producers(); commit()
       :: else ->
          copy();
          commit();
          if
          :: tell_producers()
          :: mine < CONSUMERS -> goto fenced        /* dies, and never tells; elsewhere, being stopped is as bad */
          fi
       fi;
       atomic { forget() }
    :: epoch != mine -> break
    :: working == 0 && epoch == CONSUMERS && !READY -> break
    od;
fenced:
    atomic {
        forget();
        do :: row == PRODUCERS -> break :: else -> cursor[row] = 0; row++ od;
        row = 0
    }
}

/* Kills producers when it wants. They are alike, so it takes the first one first. */
proctype fate() {
    byte deaths;
end:
    do
    :: atomic { deaths < DEATHS && working > 0 -> dead[deaths] = true; deaths++ }
    :: working == 0 -> break
    od
}

init {
    byte index;
#ifdef VARIANTS
    c_code { now.broken = atoi(getenv("BROKEN")); };
#endif
    atomic {
        do :: index == SLOTS -> break :: else -> slot[index] = WORD(index, 3); index++ od;
        index = 0;
        do :: index == PRODUCERS -> break :: else -> run producer(index); index++ od;
        index = 0;
        do :: index == HEIRS -> break :: else -> run heir(index); index++ od;
        index = 0;
        do :: index == CONSUMERS -> break :: else -> index++; run consume(index) od;
        if :: DEATHS -> run fate() :: else fi;
        index = 0
    };
    _nr_pr == 1 || (DEATHS && _nr_pr == 2);
    do :: index == SLOTS -> break :: else -> assert(expected[index] == 0); index++ od
}
