package org.crosslens.server;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** The demo's model, as tests need it. */
public final class Demo {

    private Demo() {}

    /** Copies it to {@code folder}, which need not exist. */
    public static void copyTo(Path folder) throws IOException {
        Path from = Path.of(System.getProperty("crosslens.model"));
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Path to = folder.resolve(from.relativize(file).toString());
                Files.createDirectories(to.getParent());
                Files.copy(file, to);
            }
        }
    }
}
