// A question to the service as state: the newest answer, and what went wrong.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "./service";

export interface Asked<T> {
  answer: T | null;
  problem: Problem | null;
  isWaiting: boolean;
  again: () => void;
}

/** The answer to `ask`, asked anew whenever `about` changes; an older answer stays until then. */
export function useAnswer<T>(about: string, ask: (signal: AbortSignal) => Promise<T>): Asked<T> {
  const [found, setFound] = useState<{ answer: T | null; problem: Problem | null }>({
    answer: null,
    problem: null,
  });
  const [isWaiting, setWaiting] = useState(true);
  const [turn, setTurn] = useState(0);
  const newest = useRef(ask);
  newest.current = ask;
  useEffect(() => {
    const left = new AbortController();
    setWaiting(true);
    newest
      .current(left.signal)
      .then((answer) => setFound({ answer, problem: null }))
      .catch((problem: unknown) => {
        if (left.signal.aborted) return;
        if (!(problem instanceof Problem)) throw problem;
        setFound((before) => ({ answer: before.answer, problem }));
      })
      .finally(() => {
        if (!left.signal.aborted) setWaiting(false);
      });
    return () => left.abort();
  }, [about, turn]);
  return { ...found, isWaiting, again: useCallback(() => setTurn((before) => before + 1), []) };
}
