package org.crosslens.server.work;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;

/** Lists and stamps model folders without reading any file. */
final class Directories {

    private Directories() {}

    /** Return the paths, below the root, of folders that look like models, in order. */
    static List<String> of(Path root) {
        List<String> found = new ArrayList<>();
        for (Path path : inside(root)) {
            // A folder that is none itself may hold several, as one that is mounted into a container does.
            for (Path model : ModelFolder.isModel(path) ? List.of(path) : inside(path)) {
                if (ModelFolder.isModel(model)) {
                    found.add(root.relativize(model).toString().replace('\\', '/'));
                }
            }
        }
        return found;
    }

    private static List<Path> inside(Path folder) {
        if (Files.isDirectory(folder) == false) {
            return List.of();
        }
        try (Stream<Path> inside = Files.list(folder)) {
            return inside.sorted().toList();
        } catch (IOException e) {
            throw new ModelException(folder.getFileName() + " can't be listed (" + e.getClass().getSimpleName() + ")");
        }
    }

    /** Changes whenever a file of the folder does. */
    static String stamp(Path path) {
        StringBuilder stamp = new StringBuilder();
        for (Path folder : List.of(path, path.resolve("onnx"))) {
            for (Path file : inside(folder)) {
                try {
                    BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
                    if (now.isRegularFile()) {
                        stamp.append(file).append(' ').append(now.fileKey()).append(' ').append(now.size());
                        stamp.append('@').append(now.lastModifiedTime().to(TimeUnit.NANOSECONDS)).append('\n');
                    }
                } catch (IOException e) {
                    throw new ModelException(file.getFileName() + " can't be looked at (" + e.getClass().getSimpleName() + ")");
                }
            }
        }
        return stamp.toString();
    }
}
