// What somebody without an account has opened on this visit: of this tab alone, it ends with it.

import { useState } from "preact/hooks";

const MOST = 200; // that one request may name

export interface Visit {
  items: string[]; // the newest last
  open: (itemId: string) => void;
  forget: () => void;
}

export function useVisit(userId: string): Visit {
  const [, redraw] = useState({});
  const name = `visit-of ${userId}`;
  const items: string[] = JSON.parse(sessionStorage.getItem(name) ?? "[]");
  const keep = (kept: string[]) => {
    sessionStorage.setItem(name, JSON.stringify(kept.slice(-MOST)));
    redraw({});
  };
  return {
    items,
    open: (itemId) => keep([...items.filter((each) => each !== itemId), itemId]),
    forget: () => keep([]),
  };
}
