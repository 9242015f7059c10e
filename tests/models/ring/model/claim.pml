/* Claiming the consumer's part, as in txqueue/consumer.py: the claim (a process's name beside an epoch) is replaced by
 * one compare-and-swap, then HEAD's epoch is raised to it by another. Any consumer may take over at any moment, by force
 * or not, more than once, and a process may die between any two steps, with all of its consumers. A consumer that is
 * stopped is one whose next step comes late. ring.pml has the rest: there a claim is the raising of the epoch.
 *
 * HEAD's position is left out: where it changes, raising the epoch is tried again.
 */

#define CONSUMERS 3
#define PROCESS(consumer) ((consumer) / 2 + 1)  /* the first two consumers are of one process */
#define CLAIMS 2        /* that each consumer tries */
#define DEATHS 1        /* of processes */

/* Each variant breaks one rule, chosen at run time so that one compilation serves for all. */
#define NAME_ALONE 1 /* claim: no epoch stands beside the name; who comes to HEAD next gets the next one */
#define CLAIM_STORED 2 /* claim: the claim is replaced by a store */
#define EPOCH_NOT_HELPED 3 /* claim: HEAD's epoch is not raised to that of the claim that is replaced */
#define EPOCH_STORED 4 /* claim: HEAD's epoch is raised by a store */
#define RESIGNED_BY_NAME 5 /* resignation: any claim of the same process is taken for this consumer's */

#ifdef VARIANTS
byte broken;
#define BROKEN(rule) (broken == rule)
#else
#define BROKEN(rule) false
#endif

byte name;              /* name and claimed are one word */
byte claimed;
byte epoch;             /* HEAD's */
byte epoch_of[CONSUMERS];   /* the epoch of each one's claim, or 0 */

/* What only the checks know. */
byte last = CONSUMERS;  /* the consumer that claimed last */
byte between;           /* consumers that have claimed and not raised the epoch yet */
byte ended;
bool dead[4];           /* by process */

/* Compare-and-swap, from the epoch before. */
inline raise(to) {
    d_step { if :: epoch + 1 == to || BROKEN(EPOCH_STORED) -> epoch = to :: else fi }
}

/* One compare-and-swap. Ends the claim if another was faster. */
inline replace() {
    atomic {
        if
        :: name == holder && (claimed == seen || BROKEN(NAME_ALONE)) || BROKEN(CLAIM_STORED) ->
           name = PROCESS(me);
           claimed = seen + 1;
           epoch_of[me] = seen + 1;
           last = me;
           between++;
           other = 0;
           do
           :: other == CONSUMERS -> break
           :: else -> assert(other == me || epoch_of[other] != epoch_of[me] || BROKEN(NAME_ALONE)); other++   /* two hold it */
           od;
           other = 0
        :: else -> goto refused
        fi
    }
}

inline claim() {
    atomic { holder = name; seen = claimed };
    if
    :: holder == 0 || dead[holder]
    :: holder != 0      /* by force */
    :: holder != 0 && !dead[holder] -> goto refused
    fi;
    if
    :: BROKEN(EPOCH_NOT_HELPED) || BROKEN(NAME_ALONE)
    :: else -> raise(seen)
    fi;
    replace();
    if
    :: BROKEN(NAME_ALONE) -> d_step { epoch++; epoch_of[me] = epoch }
    :: else -> raise(epoch_of[me])
    fi;
    /* With nobody on the way, the one that claimed last is the one that may move HEAD. */
    atomic { between--; assert(between > 0 || epoch_of[last] == epoch || BROKEN(NAME_ALONE)) };
refused:
    atomic { holder = 0; seen = 0; tried++ }
}

/* One compare-and-swap. */
inline resign() {
    atomic {
        if
        :: epoch_of[me] == 0
        :: epoch_of[me] != 0 && BROKEN(NAME_ALONE) && epoch != epoch_of[me]
        :: else ->
           if
           :: name == PROCESS(me) && (claimed == epoch_of[me] || BROKEN(RESIGNED_BY_NAME) || BROKEN(NAME_ALONE)) ->
              assert(last == me || BROKEN(NAME_ALONE));     /* another one's claim */
              name = 0
           :: else
           fi
        fi
    }
}

proctype consumer(byte me) {
    byte holder, seen, tried, other;
    {
        do
        :: tried < CLAIMS -> claim()
        :: resign(); break
        od
    } unless { dead[PROCESS(me)] };
    atomic { ended++; holder = 0; seen = 0; tried = 0 }
}

/* Kills processes when it wants. */
proctype fate() {
    byte deaths;
end:
    do
    :: atomic { deaths < DEATHS && !dead[1] -> dead[1] = true; deaths++ }
    :: atomic { deaths < DEATHS && !dead[2] -> dead[2] = true; deaths++ }
    :: ended == CONSUMERS -> break
    od
}

init {
    byte index;
#ifdef VARIANTS
    c_code { now.broken = atoi(getenv("BROKEN")); };
#endif
    atomic {
        do :: index == CONSUMERS -> break :: else -> run consumer(index); index++ od;
        run fate();
        index = 0
    };
    ended == CONSUMERS;
    assert(name == 0 || dead[name])     /* otherwise nobody can claim but by force */
}
