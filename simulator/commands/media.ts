import type { Book } from '../device-state.ts';
import type { Fields } from '../plist-fields.ts';
import { acknowledge, type CommandTable, malformed, type Response } from './command-definition.ts';

/** Books. */
export const MEDIA: CommandTable = {
  InstallMedia: {
    where: 'is',
    needs: { MediaType: 'string' },
    run: ({ request, state }) => {
      const book = readBook(request);
      if (book === undefined) return malformed('iTunesStoreID or PersistentID with MediaURL is needed');
      state.books.set(book.key, book);
      return acknowledge({
        iTunesStoreID: book.storeId,
        MediaURL: request.string('MediaURL'),
        PersistentID: book.persistentId,
        MediaType: 'Book',
        State: 'Queued',
      });
    },
  },
  ManagedMediaList: {
    where: 'is',
    run: ({ state }) =>
      acknowledge({
        Books: [...state.books.values()].map(
          (book): Response => ({
            iTunesStoreID: book.storeId ?? 0,
            PersistentID: book.persistentId,
            Title: book.title,
            State: 'Managed',
          }),
        ),
      }),
  },
  RemoveMedia: {
    where: 'is',
    needs: { MediaType: 'string' },
    // Acknowledged even when the book is not there (apple-protocols §1.9).
    run: ({ request, state }) => {
      state.books.delete(request.string('PersistentID') ?? request.string('iTunesStoreID') ?? '');
      return acknowledge();
    },
  },
};

function readBook(request: Fields): Book | undefined {
  const storeId = request.integer('iTunesStoreID');
  const persistentId = request.string('PersistentID');
  const key = persistentId ?? (storeId === undefined ? undefined : String(storeId));
  return key === undefined ? undefined : { key, storeId, persistentId, title: request.string('Title') };
}
