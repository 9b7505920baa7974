// What a screen reader says when something changed that nobody has focused.

import { createContext } from "preact";
import { useContext } from "preact/hooks";

export const Announcing = createContext<(text: string) => void>(() => undefined);

export const useAnnounce = (): ((text: string) => void) => useContext(Announcing);
