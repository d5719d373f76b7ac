package org.crosslens.server.share;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import org.crosslens.server.encode.Sha256;

/**
 * Writes the parts of a model into the files that its {@link Manifest} names, in an empty folder. Every part and every file
 * must have the hash that stands there. What was written is on the disk once {@link #finish} returns.
 */
final class Unpacking implements Closeable {

    private final Manifest manifest;
    private final Path folder;
    private MessageDigest digest;
    private FileChannel out;
    private long written;
    private int file = -1;
    private int part;

    /** Into {@code folder}, which is empty and this node's own. */
    Unpacking(Manifest manifest, Path folder) throws IOException {
        this.manifest = manifest;
        this.folder = folder;
        next();
    }

    /** Takes the next part. Throws {@link IllegalArgumentException} for one that isn't the manifest's. */
    void take(byte[] bytes) throws IOException {
        checkPart(manifest, part, bytes);
        part++;
        for (int at = 0; at < bytes.length;) {
            int length = (int) Math.min(bytes.length - at, manifest.files().get(file).size() - written);
            ByteBuffer piece = ByteBuffer.wrap(bytes, at, length);
            while (piece.hasRemaining()) {
                out.write(piece);
            }
            digest.update(bytes, at, length);
            at += length;
            written += length;
            next();
        }
    }

    /** Refuses bytes that aren't those of the manifest's {@code part}. */
    static void checkPart(Manifest manifest, int part, byte[] bytes) {
        if (part < 0 || part >= manifest.parts().size()) {
            throw new IllegalArgumentException("the model has " + manifest.parts().size() + " parts, from 0 on, and no part " + part);
        }
        if (bytes.length != manifest.length(part)) {
            throw new IllegalArgumentException(
                "part " + part + " has " + bytes.length + " bytes where the model has " + manifest.length(part)
            );
        }
        if (Sha256.of(bytes).equals(manifest.parts().get(part)) == false) {
            throw new IllegalArgumentException("part " + part + " is damaged: its sha256 differs from the one announced");
        }
    }

    /** Ends the file that is complete, and begins the next one; those without bytes are complete at once. */
    private void next() throws IOException {
        while (file < manifest.files().size() && (file < 0 || written == manifest.files().get(file).size())) {
            endFile();
            file++;
            written = 0;
            if (file < manifest.files().size()) {
                Path path = folder.resolve(manifest.files().get(file).name());
                Files.createDirectories(path.getParent());
                // Fails where something is there already, a link included.
                out = FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                digest = Sha256.digest();
            }
        }
    }

    private void endFile() throws IOException {
        if (out == null) {
            return;
        }
        out.force(true);
        close();
        Manifest.Content done = manifest.files().get(file);
        if (Sha256.hex(digest).equals(done.sha256()) == false) {
            throw new IllegalArgumentException("the file [" + done.name() + "] is damaged: its sha256 differs from the one announced");
        }
    }

    /** Throws {@link IllegalArgumentException} where parts are missing. */
    void finish() {
        if (file < manifest.files().size()) {
            throw new IllegalArgumentException("the model ends in its file [" + manifest.files().get(file).name() + "]");
        }
    }

    @Override
    public void close() throws IOException {
        if (out != null) {
            out.close();
            out = null;
        }
    }
}
