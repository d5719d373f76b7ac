package org.crosslens.server.share;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

/**
 * The folder of this node's data in which shared models lie: {@code models/NAME/}, each whole and as its manifest says, and
 * {@code incoming/}, for what is being written or deleted. A model comes and goes by the renaming of its folder, so that
 * nobody ever sees half of one.
 */
final class Depot {

    /** Says in a model's folder which upload it is; no file of a model's begins with a dot. */
    private static final String MARK = ".upload";
    private final Path root;
    private final Path models;
    private final Path incoming;

    /** {@code root} need not exist, but the folder that it lies in does. */
    Depot(Path root) {
        this.root = root;
        this.models = models(root);
        this.incoming = root.resolve("incoming");
    }

    /** Where below {@code root} models lie. */
    static Path models(Path root) {
        return root.resolve("models");
    }

    /** Deletes what an earlier run of the node left unfinished. */
    void clean() throws IOException {
        delete(incoming);
    }

    /** A new, empty folder to write a model into. */
    Path begin() throws IOException {
        try {
            // On its own: the plugin may not look at the folder above.
            Files.createDirectory(root);
        } catch (FileAlreadyExistsException e) {
            // As it should be.
        }
        return Files.createDirectories(incoming.resolve(UUID.randomUUID().toString()));
    }

    /** The shared models that lie here: names, and which upload each is ("" where that can't be read). */
    Map<String, String> installed() throws IOException {
        Map<String, String> installed = new TreeMap<>();
        if (Files.isDirectory(models)) {
            try (DirectoryStream<Path> folders = Files.newDirectoryStream(models)) {
                for (Path folder : folders) {
                    Path mark = folder.resolve(MARK);
                    String upload = Files.isRegularFile(mark) ? Files.readString(mark) : "";
                    installed.put(folder.getFileName().toString(), upload);
                }
            }
        }
        return installed;
    }

    /** Puts the {@code complete} folder, made by {@link #begin}, in its place. */
    void install(Path complete, String name, String upload) throws IOException {
        Files.writeString(complete.resolve(MARK), upload);
        Files.createDirectories(models);
        Files.move(complete, models.resolve(name), StandardCopyOption.ATOMIC_MOVE);
    }

    /** Takes a model away. */
    void remove(String name) throws IOException {
        Path gone = begin().resolve(name);
        try {
            Files.move(models.resolve(name), gone, StandardCopyOption.ATOMIC_MOVE);
        } catch (NoSuchFileException e) {
            // That is what was wanted.
        }
        delete(gone.getParent());
    }

    /** Deletes a folder made by {@link #begin}, if it is still there. */
    static void delete(Path folder) throws IOException {
        if (Files.exists(folder, LinkOption.NOFOLLOW_LINKS) == false) {
            return;
        }
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
                if (failure != null) {
                    throw failure;
                }
                Files.delete(directory);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
