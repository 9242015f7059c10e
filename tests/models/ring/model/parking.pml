/* Parking, as in txqueue/ring/polling.py and the end of ring.publish: the consumer sleeps only while nothing waits, and
 * whoever publishes wakes it. Processors delay stores behind later loads, so where a variant makes an ordered store a
 * plain one, it goes through a store buffer that drains when it likes.
 *
 * A producer may die before it wakes whom it ought to wake; the sleep's time limit is there for that, and is taken
 * away here for as long as nobody died: a wake that is lost otherwise shows as a process that cannot end.
 */

#define PRODUCERS 2
#define FRAMES 2                /* of each producer */

/* Each variant breaks one rule, chosen at run time so that one compilation serves for all. */
#define MARK_STORED_PLAINLY 1 /* consumer: the mark is a plain store */
#define MARK_AFTER_LOOK 2 /* consumer: looks at the slot only before it marks itself */
#define MARK_NOT_COMPARED 3 /* consumer: sleeps although its mark was taken away */
#define NO_TIME_LIMIT 4 /* consumer: sleeps until somebody wakes it */
#define SLOT_STORED_PLAINLY 5 /* producer: the slot is filled by a plain store */
#define LOOK_BEFORE_SLOT 6 /* producer: looks at the mark before it fills the slot */
#define NOT_WOKEN 7 /* producer: takes the mark away and wakes nobody */

#ifdef VARIANTS
byte broken;
#define BROKEN(rule) (broken == rule)
#else
#define BROKEN(rule) false
#endif

byte filled;                    /* slots, counted */
byte taken;
bool parked;
bool asleep;
bool somebody_died;
bool mark_buffered;
byte slots_buffered;

/* The store buffers, which drain at any time. */
proctype memory() {
end:
    do
    :: atomic { mark_buffered -> mark_buffered = false; parked = true }
    :: atomic { slots_buffered > 0 -> slots_buffered--; filled++ }
    od
}

inline mark() {
    if
    :: BROKEN(MARK_STORED_PLAINLY) -> mark_buffered = true
    :: else -> parked = true
    fi
}

proctype consumer() {
    do
    :: taken == PRODUCERS * FRAMES -> break
    :: filled > taken -> taken++
    :: filled == taken && taken < PRODUCERS * FRAMES ->
       mark();
       if
       :: filled > taken && !BROKEN(MARK_AFTER_LOOK)
       :: filled == taken || BROKEN(MARK_AFTER_LOOK) ->
          !mark_buffered;                       /* a system call drains the buffer */
          atomic { if :: parked || BROKEN(MARK_NOT_COMPARED) -> asleep = true :: else fi };
          if
          :: !asleep
          :: atomic { asleep && somebody_died && !BROKEN(NO_TIME_LIMIT) -> asleep = false }
          fi
       fi;
       !mark_buffered;
       parked = false
    od
}

inline fill() {
    if
    :: BROKEN(SLOT_STORED_PLAINLY) -> slots_buffered++
    :: else -> filled++
    fi
}

inline look() { seen = parked }

inline wake() {
    if
    :: atomic { seen && parked -> parked = false };
       if
       :: somebody_died = true; goto dead
       :: asleep = asleep && BROKEN(NOT_WOKEN)
       fi
    :: !seen || !parked
    fi
}

proctype producer() {
    byte number;
    bool seen;
    do
    :: number == FRAMES -> break
    :: else ->
       if
       :: BROKEN(LOOK_BEFORE_SLOT) -> look(); fill()
       :: else -> fill(); look()
       fi;
       wake();
       number++
    od;
    goto done;
dead:
    /* Somebody else has the rest of its frames. */
    do :: number < FRAMES - 1 -> number++; filled++ :: else -> break od;
done:
    skip
}

init {
#ifdef VARIANTS
    c_code { now.broken = atoi(getenv("BROKEN")); };
#endif
    atomic { run memory(); run consumer(); run producer(); run producer() }
}
