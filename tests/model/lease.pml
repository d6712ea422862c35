/* One execution, two workers, a client that may cancel, a store, and a wire that delays, repeats and loses.

   What stands for what. `revision` numbers the journal's entries; a claim and a cancel write one too, and a commit names
   the revision that it expects. `token` counts the changes of owner; a renewal names it. With the step it also serves as
   the id of a Change. `trust` is for how long a worker still believes in its lease, by its own clock, which runs as fast
   as the store's (A3). A worker may die at any point (A5); what it has sent may still arrive, late and more than once, or
   its answer may be lost (A6). A renewal that arrives after its sender's death is left out: it only makes a lease longer.

   Time is what is left until something, or what has passed since: no moment is the last, and renewals have no number.
   What the engine or the store does at once is one step. Each atomic or d_step begins with when it may happen.

   STEPS and CLAIMS bound the model, and the wire holds two commits: one more takes the place of another. The
   promises are those of docs/promises.md, each an assertion here; -DONLY=n checks one of them alone, -DEXCEPT=n all
   but one.

   Mutants, each of which must break a promise:
     -DEXPECTS_NOTHING       a commit is not guarded at all
     -DGUARDED_BY_TOKEN      a commit names its token, in place of the revision that it expects
     -DCLAIM_WRITES_NOTHING  a claim adds no entry: whoever lost the lease still expects the right revision
     -DCANCEL_WRITES_NOTHING a cancel adds no entry
     -DRETRY_WITHOUT_ID      an answer that is lost counts as a refusal: what is in hand is decided again and sent
     -DRUNS_AGAIN            an answer that is lost counts as a failure of the handler, which starts again
     -DCLAIMS_EARLY          a claim takes what is leased to somebody else
     -DTRUST_FROM_ANSWER     a lease is counted from when the answer came, not from when the request was sent
     -DNO_MARGIN             a lease is trusted to its very end
     -DNO_DEADLINE           a handler goes on after the end of its lease
     -DNO_CHECK_AT_START     a handler starts without a look at the lease
     -DRENEWS_ANY_TOKEN      a renewal extends whatever lease there is

   Assumptions that don't hold, which must break promise 3 and no other:
     -DSTALLS                a worker may stand still in a handler, for any time (A4)
     -DJUMPS                 the store's clock may jump past the end of a lease (A2)

   A variant that must keep every promise:
     -DSENDS_UNTRUSTED       a commit is sent without a look at the lease

   What must be possible, or the model would say nothing; each is an assertion to the contrary, which must fail:
     -DREACH=1               the execution ends, and its steps were recorded under different tokens
     -DREACH=2               a commit is accepted whose sender is gone
     -DREACH=3               a lease that was handed back is claimed before its time is over */

#ifndef STEPS
#define STEPS  2
#endif
#ifndef CLAIMS
#define CLAIMS 3
#endif
#define LEASE  3
#ifdef NO_MARGIN
#define TRUST  LEASE
#else
#define TRUST  (LEASE - 1)  /* the margin is the time in which a handler is cut off */
#endif
#define NOBODY 2
#define HANDS_BACK STEPS    /* in the place of a step's number: no success, but the lease */
#define NEXT_LOOK 13        /* what is left of promise 3 where A4 doesn't hold */

#ifdef REACH
#define promise(n, holds) skip
#define reach(n, happens) assert(n != REACH || !(happens))
#else
#define reach(n, happens) skip
#if defined(ONLY)
#define promise(n, holds) assert(n != ONLY || (holds))
#elif defined(EXCEPT)
#define promise(n, holds) assert(n == EXCEPT || (holds))
#else
#define promise(n, holds) assert(holds)
#endif
#endif

mtype = { idle, claims, holds, runs, waits }

/* the store: the row, and what its journal says */
byte revision = 1, token, owner = NOBODY, due, at;
bool is_cancelled;
byte record[STEPS];         /* under which token each step's success was recorded */
bool is_handed_back;
#define is_over (is_cancelled || at == STEPS)

/* the workers */
mtype doing[2] = idle;
byte mine[2], expects[2], step[2], trust[2];
byte ago[2];                /* how long ago the claim was sent whose answer is on its way */
bool is_renewed[2];         /* whether the answer to a renewal is on its way, */
byte since[2];              /* and how long ago that was sent */
bool is_still[2];           /* whether it stands still */
#define moves(w)      (doing[w] == runs && !is_still[w])
#define is_ours(w)    (owner == w && token == mine[w])
#define has_landed(w) (record[step[w]] == mine[w])

/* the wire: commits that were sent; each may arrive at any time, again and again, or never */
typedef Commit { byte token, step, expects }
Commit wire[2];

#ifdef EXPECTS_NOTHING
#define is_accepted(n) (wire[n].token > 0)
#elif defined(GUARDED_BY_TOKEN)
#define is_accepted(n) (wire[n].token > 0 && wire[n].token == token)
#else
#define is_accepted(n) (wire[n].token > 0 && wire[n].expects == revision)
#endif
#ifdef CLAIMS_EARLY
#define is_due(w) (due == 0 || owner != w)
#else
#define is_due(w) (due == 0)
#endif
#ifdef RENEWS_ANY_TOKEN
#define may_renew(w) (!is_over)
#else
#define may_renew(w) is_ours(w)
#endif
#ifdef TRUST_FROM_ANSWER
#define left(passed) TRUST
#else
#define left(passed) (TRUST - passed)
#endif
#ifdef NO_CHECK_AT_START
#define may_start(w) true
#else
#define may_start(w) (trust[w] > 0)
#endif
#ifdef SENDS_UNTRUSTED
#define may_send(w) true
#else
#define may_send(w) (trust[w] > 0)
#endif
#ifdef NO_DEADLINE
#define must_stop(w) false
#else
#define must_stop(w) (moves(w) && trust[w] == 0)
#endif

inline forget(w) {
  doing[w] = idle; mine[w] = 0; expects[w] = 0; step[w] = 0; trust[w] = 0; ago[w] = 0;
  is_renewed[w] = false; since[w] = 0; is_still[w] = false
}

inline put(n, w, what) { wire[n].token = mine[w]; wire[n].step = what; wire[n].expects = expects[w] }

inline send(w, what) { if :: put(0, w, what) :: put(1, w, what) fi }   /* what stood in this place is lost */

inline a_while(since_when) { do :: since_when < TRUST - 1 -> since_when++ :: break od }

inline pass(w) {
  trust[w] = (trust[w] > 0 -> trust[w] - 1 : 0);
  ago[w] = (doing[w] == claims && ago[w] < TRUST -> ago[w] + 1 : ago[w]);
  since[w] = (is_renewed[w] && since[w] < TRUST -> since[w] + 1 : since[w])
}

inline arrive(n) {
  printf("step %d under token %d arrives, and is accepted\n", wire[n].step, wire[n].token);
  promise(7, !is_over);                            /* what ended is final */
  promise(2, wire[n].token == token);              /* who lost its lease commits nothing */
  revision++;
  if
  :: wire[n].step == HANDS_BACK -> owner = NOBODY; is_handed_back = (due > 0); due = 0
  :: else ->
     promise(1, record[wire[n].step] == 0);        /* a success is recorded once, */
     promise(6, wire[n].step == at);               /* and in its order */
     reach(2, mine[0] != wire[n].token && mine[1] != wire[n].token);
     record[wire[n].step] = wire[n].token; at = wire[n].step + 1;
     reach(1, at == STEPS && record[0] != record[STEPS - 1]);
     if
     :: at == STEPS -> owner = NOBODY; due = 0
     :: else
     fi
  fi
}

proctype Clock() {
end:
  do
  :: d_step { !must_stop(0) && !must_stop(1) -> printf("time passes\n");
#ifndef JUMPS
       promise(NEXT_LOOK, !(moves(0) && moves(1)));  /* who stood still is cut off as soon as it moves */
#endif
       due = (due > 0 -> due - 1 : 0); is_handed_back = false; pass(0); pass(1) }
#ifdef JUMPS
  :: d_step { due > 0 -> printf("the store's clock jumps\n"); due = 0 }
#endif
  od
}

proctype Wire() {
end:
  do
  :: d_step { is_accepted(0) -> arrive(0) }
  :: d_step { is_accepted(1) -> arrive(1) }
  od
}

proctype Client() {
end:
  d_step { !is_over -> printf("the client cancels\n");
    is_cancelled = true; token++; owner = NOBODY; due = 0; is_handed_back = false;
#ifndef CANCEL_WRITES_NOTHING
    revision++
#endif
  }
}

proctype Worker(byte me) {
end:
  do
  /* The store takes in a claim, sent a while ago. The first is worker 0's, since the two are alike. */
  :: atomic { doing[me] == idle && !is_over && is_due(me) && token < CLAIMS && (token > 0 || me == 0) ->
       printf("worker %d claims step %d under token %d\n", me, at, token + 1);
       reach(3, is_handed_back);
       token++; owner = me; due = LEASE; is_handed_back = false;
#ifndef CLAIM_WRITES_NOTHING
       revision++;
#endif
       doing[me] = claims; mine[me] = token; expects[me] = revision; step[me] = at;
       a_while(ago[me]) }
  :: d_step { doing[me] == claims -> printf("worker %d hears of its claim\n", me);
       doing[me] = holds; trust[me] = left(ago[me]); ago[me] = 0 }

  /* The store takes in a renewal; its answer comes. */
  :: atomic { doing[me] != idle && doing[me] != claims && !is_renewed[me] && may_renew(me) ->
       printf("worker %d is renewed\n", me);
       due = LEASE; is_renewed[me] = true; a_while(since[me]) }
  :: d_step { is_renewed[me] && !is_still[me] -> printf("worker %d hears of its renewal\n", me);
       trust[me] = (left(since[me]) > trust[me] -> left(since[me]) : trust[me]);
       is_renewed[me] = false; since[me] = 0 }

  /* A handler starts; it returns, and its success is sent. To send it again adds nothing: it may arrive again anyway. */
  :: d_step { doing[me] == holds && may_start(me) -> printf("worker %d starts step %d\n", me, step[me]);
       doing[me] = runs;
       promise(1, !(is_ours(me) && at > step[me]));  /* what is on record isn't started again */
       promise(3, doing[1 - me] != runs) }           /* no two handlers at once */
#ifdef STALLS
  :: d_step { moves(me) -> printf("worker %d stands still\n", me); is_still[me] = true }
  :: d_step { is_still[me] -> printf("worker %d moves on\n", me); is_still[me] = false }
#endif
  :: atomic { moves(me) && may_send(me) -> printf("worker %d sends step %d\n", me, step[me]);
       doing[me] = waits; send(me, step[me]) }

  /* It is told that it went through, or finds the Change by its id. */
  :: d_step { doing[me] == waits && has_landed(me) -> printf("worker %d knows of step %d\n", me, step[me]);
       if
       :: step[me] + 1 == STEPS -> forget(me)
#if STEPS > 1
       :: else -> doing[me] = holds; step[me]++; expects[me]++
#endif
       fi }
#ifdef RETRY_WITHOUT_ID
  :: atomic { doing[me] == waits && is_ours(me) && expects[me] != revision ->
       printf("worker %d sends step %d once more\n", me, step[me]); expects[me] = revision; send(me, step[me]) }
#endif
#ifdef RUNS_AGAIN
  :: d_step { doing[me] == waits && is_ours(me) -> printf("worker %d gives up waiting\n", me); doing[me] = holds }
#endif

  /* It hands the lease back, its handler having ended or not begun; it dies, or gives up. */
  :: atomic { (doing[me] == holds || moves(me)) && may_send(me) -> printf("worker %d hands back\n", me);
       send(me, HANDS_BACK); forget(me) }
  :: d_step { doing[me] != idle -> printf("worker %d is gone\n", me); forget(me) }
  od
}

init { atomic { run Clock(); run Wire(); run Client(); run Worker(0); run Worker(1) } }
